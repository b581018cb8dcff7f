import type { IWant, IWatch, WatchedFrame } from '../plots/contract';
import { partOf } from '../plots/resampledSeries';
import type { ISubscription } from './wire';

/** The most points that the server sends. */
const MOST_POINTS = 1000;

interface ISubscriber {
  want: IWant;
  readonly onFrame: (frame: WatchedFrame) => void;
}

/** The watches that share one stream, and the subscription that serves all of them. */
export class Subscriptions {
  /** @param changed - called after changes, at most once per turn of the event loop */
  constructor(private readonly _changed: () => void) {}

  get size(): number {
    return this._all.size;
  }

  add(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch {
    const subscriber: ISubscriber = { want, onFrame };
    this._all.add(subscriber);
    this._change();
    return {
      update: next => {
        subscriber.want = next;
        this._change();
      },
      dispose: () => {
        if (this._all.delete(subscriber)) {
          this._change();
        }
      }
    };
  }

  publish(frame: WatchedFrame): void {
    for (const { onFrame } of [...this._all]) {
      onFrame(frame);
    }
  }

  /** `base` merged with all watches: the longest window, at the finest resolution of any of them. */
  merged(base: ISubscription): ISubscription {
    let { window_s } = base;
    let part_s = this._all.size > 0 ? Infinity : base.window_s / base.points;
    const detail = new Set(base.detail);
    for (const { want } of this._all) {
      window_s = Math.max(window_s, want.window_s);
      part_s = Math.min(part_s, partOf(want.window_s));
      detail.add(want.model);
    }
    const points = Math.min(MOST_POINTS, Math.ceil(window_s / part_s));
    return { ...base, window_s, points, detail: [...detail].sort() };
  }

  private _change(): void {
    if (!this._due) {
      this._due = true;
      queueMicrotask(() => {
        this._due = false;
        this._changed();
      });
    }
  }

  private readonly _all = new Set<ISubscriber>();
  private _due = false;
}
