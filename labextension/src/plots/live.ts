import { type ILivePlots, type ILivePlotsOptions } from './contract';

/** Draw the live figures of one model into `node`, which becomes theirs until disposed of. */
export function livePlots(node: HTMLElement, options: ILivePlotsOptions): ILivePlots {
  node.classList.add('iw-Plots');
  return {
    window_s: options.window_s ?? 60,
    paused: false,
    setHistory: () => undefined,
    push: () => undefined,
    setWindow: () => undefined,
    setPaused: () => undefined,
    setLayout: () => undefined,
    retheme: () => undefined,
    selected: { connect: () => () => undefined },
    dispose: () => node.replaceChildren()
  };
}
