import type { ILivePlots, IPageStream, IWatch } from './contract';

export interface IAttached {
  /** Shows another window and requests its history. */
  setWindow(seconds: number): void;
  dispose(): void;
}

/** Feeds plots from a stream while `node` is in view. */
export function attach(
  node: HTMLElement,
  plots: ILivePlots,
  stream: IPageStream,
  model: string
): IAttached {
  let watch: IWatch | null = null;
  const want = () => ({ model, window_s: plots.window_s });
  const stop = () => {
    watch?.dispose();
    watch = null;
  };
  const sight = new IntersectionObserver(entries => {
    if (!entries[entries.length - 1]?.isIntersecting) {
      stop();
    } else if (watch === null) {
      watch = stream.watch(want(), frame =>
        frame.type === 'history' ? plots.setHistory(frame) : plots.push(frame)
      );
    }
  });
  sight.observe(node);
  return {
    setWindow: seconds => {
      plots.setWindow(seconds);
      watch?.update(want());
    },
    dispose: () => {
      sight.disconnect();
      stop();
    }
  };
}
