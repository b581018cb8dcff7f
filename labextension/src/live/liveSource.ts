import type { IEvent, IWant, IWatch, WatchedFrame } from '../plots/contract';
import { Emitter } from '../plots/emitter';
import { type Event, INITIAL, type IView, reduce } from '../service/state';
import { type IStreamOptions, Stream } from '../service/stream';
import { Subscriptions } from '../service/subscriptions';
import type { ISubscription } from '../service/wire';

/** What a plot shows of the connection, the service and its models. */
export type ServiceView = Pick<IView, 'link' | 'service' | 'models'>;

/** Where a plot gets its frames from. */
export interface ISource {
  readonly view: ServiceView;
  readonly changed: IEvent<void>;
  /** As `IPageStream.watch`: `history` first, then `figures`, until disposed of. */
  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch;
}

/** The part of the page's model that is used here; the front-end extension leaves it in `globalThis`. */
export interface IPageModel {
  readonly state: ServiceView;
  readonly stateChanged: {
    connect(slot: () => void): unknown;
    disconnect(slot: () => void): unknown;
  };
  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch;
}

/** The page's one stream as a source. */
export function ofPage(model: IPageModel): ISource {
  return {
    get view() {
      return model.state;
    },
    changed: {
      connect: listener => {
        const slot = () => listener(undefined);
        model.stateChanged.connect(slot);
        return () => model.stateChanged.disconnect(slot);
      }
    },
    watch: (want, onFrame) => model.watch(want, onFrame)
  };
}

/** All models, so that one can be chosen. */
const ALL: ISubscription = { models: '*', window_s: 60, points: 60, detail: [] };

/** A source with a stream of its own, which is open while there are watches. */
export class OwnSource implements ISource {
  constructor(options: Pick<IStreamOptions, 'open' | 'chance'>) {
    this._stream = new Stream({ ...options, subscription: ALL });
    this._stream.linkChanged.connect(link => this._apply({ type: 'link', link }));
    this._stream.frame.connect(frame => {
      if (frame.type === 'figures' || frame.type === 'history') {
        this._subscriptions.publish(frame);
      } else {
        this._apply(frame);
      }
    });
  }

  get view(): ServiceView {
    return this._view;
  }

  get changed(): IEvent<void> {
    return this._changed;
  }

  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch {
    return this._subscriptions.add(want, onFrame);
  }

  private _update(): void {
    if (this._subscriptions.size === 0) {
      this._stream.reset();
    } else {
      this._stream.subscribe(this._subscriptions.merged(ALL));
      this._stream.awake = true;
      this._stream.retry();
    }
  }

  private _apply(event: Event): void {
    const view = reduce(this._view, event);
    if (view !== this._view) {
      this._view = view;
      this._changed.emit(undefined);
    }
  }

  private readonly _stream: Stream;
  private readonly _subscriptions = new Subscriptions(() => this._update());
  private readonly _changed = new Emitter<void>();
  private _view = INITIAL;
}
