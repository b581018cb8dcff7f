import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ISignal } from '@lumino/signaling';
import * as React from 'react';
import type { CollapseState } from '../ui/collapseState';
import type { RenderLoop } from '../ui/renderLoop';
import type { LoadtestTarget } from '../loadtest/loadtestTarget';
import type { IServiceModel } from '../tokens';
import type { PlotSelection } from '../ui/plotSelection';
import { useSignal } from './useSignal';

/** What all components of the panel share. */
export interface IPanelContext {
  readonly model: IServiceModel;
  readonly commands: CommandRegistry;
  readonly renderLoop: RenderLoop;
  readonly collapseState: CollapseState;
  /** Selects the model whose live figures are drawn. */
  readonly plotSelection: PlotSelection;
  /** Selects the model to load-test. */
  readonly loadtestTarget: LoadtestTarget;
  readonly trans: TranslationBundle;
  /** The figure that sparklines show. */
  readonly sparkline: 'requests_per_s' | 'p50_s';
  /** Lets the user choose a model's file; resolves to null if they cancel. Absent without a file browser. */
  readonly browse?: (() => Promise<string | null>) | undefined;
  /** Opens the menu of a model below an element. */
  openMenu(name: string, anchor: HTMLElement): void;
}

const Context = React.createContext<IPanelContext | null>(null);

export const PanelContext = Context.Provider;

export function usePanel(): IPanelContext {
  const context = React.useContext(Context);
  if (context === null) {
    throw new Error('used outside of the panel');
  }
  return context;
}

/** Whether the part `name` is expanded, and a function that sets it; kept over reloads. */
export function useCollapse(
  name: string,
  byDefault = true
): [open: boolean, set: (open: boolean) => void] {
  const { collapseState } = usePanel();
  const said = useSignal(collapseState.changed, () => collapseState.get(name));
  return [said ?? byDefault, open => collapseState.set(name, open)];
}

/** A ref for the root of a section, which is expanded and scrolled into view when `requested` is emitted. */
export function useReveal(
  section: string,
  requested: ISignal<unknown, unknown>,
  onAsked?: () => void
): React.RefObject<HTMLDivElement> {
  const root = React.useRef<HTMLDivElement>(null);
  const [, setOpen] = useCollapse(section);
  React.useEffect(() => {
    const bring = () => {
      onAsked?.();
      setOpen(true);
      // After the section has expanded.
      requestAnimationFrame(() => root.current?.scrollIntoView({ block: 'start' }));
    };
    requested.connect(bring);
    return () => void requested.disconnect(bring);
  });
  return root;
}
