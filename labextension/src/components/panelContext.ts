import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ISignal } from '@lumino/signaling';
import * as React from 'react';
import type { Folds } from '../ui/collapseState';
import type { FrameLoop } from '../ui/renderLoop';
import type { Testing } from '../loadtest/loadtestTarget';
import type { IServiceModel } from '../tokens';
import type { Watched } from '../ui/plotSelection';
import { useSignal } from './useSignal';

/** What every part of the panel is given. */
export interface IPanelContext {
  readonly model: IServiceModel;
  readonly commands: CommandRegistry;
  readonly frames: FrameLoop;
  readonly folds: Folds;
  /** The model whose live figures are drawn. */
  readonly watched: Watched;
  /** The model that is to be load-tested. */
  readonly testing: Testing;
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
export function useFold(
  name: string,
  byDefault = true
): [open: boolean, set: (open: boolean) => void] {
  const { folds } = usePanel();
  const said = useSignal(folds.changed, () => folds.get(name));
  return [said ?? byDefault, open => folds.set(name, open)];
}

/** The root of a section that is unfolded and brought into sight when `asked` is emitted. */
export function useBrought(
  section: string,
  asked: ISignal<unknown, unknown>,
  onAsked?: () => void
): React.RefObject<HTMLDivElement> {
  const root = React.useRef<HTMLDivElement>(null);
  const [, setOpen] = useFold(section);
  React.useEffect(() => {
    const bring = () => {
      onAsked?.();
      setOpen(true);
      // Once it is unfolded.
      requestAnimationFrame(() => root.current?.scrollIntoView({ block: 'start' }));
    };
    asked.connect(bring);
    return () => void asked.disconnect(bring);
  });
  return root;
}
