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

/** What every part of the panel is given. */
export interface IPanelContext {
  readonly model: IServiceModel;
  readonly commands: CommandRegistry;
  readonly renderLoop: RenderLoop;
  readonly collapseState: CollapseState;
  /** The model whose live figures are drawn. */
  readonly plotSelection: PlotSelection;
  /** The model that is to be load-tested. */
  readonly loadtestTarget: LoadtestTarget;
  readonly trans: TranslationBundle;
  /** What sparklines show. */
  readonly sparkline: 'requests_per_s' | 'p50_s';
  /** Let the user choose an .onnx file; null where they chose none. Absent: there is no file browser. */
  readonly browse?: (() => Promise<string | null>) | undefined;
  /** Open the menu of a model below an element. */
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

/** Whether what is called `name` is unfolded, and what folds and unfolds it; kept over reloads. */
export function useCollapse(
  name: string,
  byDefault = true
): [open: boolean, set: (open: boolean) => void] {
  const { collapseState } = usePanel();
  const said = useSignal(collapseState.changed, () => collapseState.get(name));
  return [said ?? byDefault, open => collapseState.set(name, open)];
}

/** The root of a section that is unfolded and brought into sight when `asked` is emitted. */
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
      // Once it is unfolded.
      requestAnimationFrame(() => root.current?.scrollIntoView({ block: 'start' }));
    };
    requested.connect(bring);
    return () => void requested.disconnect(bring);
  });
  return root;
}
