import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';
import type { Folds } from '../folds';
import type { FrameLoop } from '../frames';
import type { Testing } from '../testing';
import type { IServiceModel } from '../tokens';
import type { Watched } from '../watched';

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
  const subscribe = React.useCallback(
    (changed: () => void) => {
      folds.changed.connect(changed);
      return () => void folds.changed.disconnect(changed);
    },
    [folds]
  );
  const said = React.useSyncExternalStore(subscribe, () => folds.get(name));
  return [said ?? byDefault, open => folds.set(name, open)];
}
