import { backoff } from '../service/backoff';
import type { IEvent, IWant, IWatch, WatchedFrame } from '../plots/contract';
import { Emitter } from '../plots/emitter';
import { INITIAL, type IView, type Link, reduce } from '../service/state';
import { API } from '../version';
import { Subscriptions } from '../service/subscriptions';
import type { Frame, ISubscription, Order } from '../service/wire';

/** How things stand: with the connection, the service and its models. */
export type Standing = Pick<IView, 'link' | 'service' | 'models'>;

/** Where a plot hears of the service. */
export interface ISource {
  readonly standing: Standing;
  readonly changed: IEvent<void>;
  /** As of the page's one stream: `history` first, then `figures`, until disposed of. */
  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch;
}

/** What is used of the page's one stream, which the front-end extension leaves there. */
export interface IPageModel {
  readonly state: Standing;
  readonly stateChanged: {
    connect(slot: () => void): unknown;
    disconnect(slot: () => void): unknown;
  };
  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch;
}

/** The page's one stream as a source. */
export function ofPage(model: IPageModel): ISource {
  return {
    get standing() {
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

/** Something that texts go through, both ways. */
export interface IPipe {
  send(text: string): void;
  close(): void;
}

export interface IPipeHandlers {
  opened(): void;
  heard(text: string): void;
  /** It broke off; nothing is heard any more. */
  lost(): void;
}

export interface IPipeOptions {
  open(handlers: IPipeHandlers): IPipe;
  /** In [0, 1); Math.random where not given. */
  chance?(): number;
}

/** What is wanted of all models, so that one can be chosen. */
const ALL: ISubscription = { models: '*', window_s: 60, points: 60, detail: [] };

/** Told nothing for so long, not even a beat (5 s), what is at the other end is taken for dead. */
const SILENCE_MS = 15_000;

/** A stream of this widget's own, through a WebSocket or a comm: open while somebody watches, and tried again. */
export class Piped implements ISource {
  constructor(private readonly _options: IPipeOptions) {}

  get standing(): Standing {
    return this._standing;
  }

  get changed(): IEvent<void> {
    return this._changed;
  }

  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch {
    const watch = this._subscriptions.add(want, onFrame);
    return {
      update: next => watch.update(next),
      dispose: () => watch.dispose()
    };
  }

  private _wanted(): void {
    if (this._subscriptions.size === 0) {
      this._drop();
      this._apply({ kind: 'idle' });
    } else if (this._pipe === null) {
      this._open();
    } else if (this._ready) {
      this._subscribe();
    }
  }

  private _open(): void {
    clearTimeout(this._timer);
    this._ready = false;
    this._apply({ kind: 'connecting' });
    const current = ++this._opened;
    const mine = () => current === this._opened;
    this._pipe = this._options.open({
      opened: () => mine() && this._begin(),
      heard: text => mine() && this._hear(text),
      lost: () => mine() && this._lose()
    });
    this._listen();
  }

  private _begin(): void {
    this._ready = true;
    this._subscribe();
  }

  private _subscribe(): void {
    const order: Order = { type: 'subscribe', ...this._subscriptions.merged(ALL) };
    this._pipe?.send(JSON.stringify(order));
  }

  private _hear(text: string): void {
    let frame: Frame;
    try {
      frame = JSON.parse(text) as Frame;
    } catch {
      return;
    }
    if (frame.type === 'hello' && frame.api !== API) {
      this._drop();
      this._apply({ kind: 'missing', why: 'incompatible', message: frame.version });
      return;
    }
    this._failures = 0;
    this._apply({ kind: 'live' });
    this._listen();
    if (frame.type === 'figures' || frame.type === 'history') {
      this._subscriptions.publish(frame);
    } else if (frame.type === 'service' || frame.type === 'models') {
      this._standing = reduce({ ...INITIAL, ...this._standing }, frame);
      this._changed.emit(undefined);
    }
  }

  private _listen(): void {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._lose(), SILENCE_MS);
  }

  private _lose(): void {
    this._drop();
    this._failures += 1;
    const wait = backoff(this._failures, (this._options.chance ?? Math.random)());
    this._apply({ kind: 'lost', retryAt: Date.now() + wait, blocked: false });
    this._timer = setTimeout(() => this._open(), wait);
  }

  private _drop(): void {
    clearTimeout(this._timer);
    this._opened += 1;
    this._ready = false;
    const pipe = this._pipe;
    this._pipe = null;
    pipe?.close();
  }

  private _apply(link: Link): void {
    if (link.kind !== this._standing.link.kind) {
      this._standing = { ...this._standing, link };
      this._changed.emit(undefined);
    }
  }

  private readonly _subscriptions = new Subscriptions(() => this._wanted());
  private readonly _changed = new Emitter<void>();
  private _standing: Standing = INITIAL;
  private _pipe: IPipe | null = null;
  /** Counts openings: what a pipe of before says is about nothing any more. */
  private _opened = 0;
  private _ready = false;
  /** In a row. */
  private _failures = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

/** A WebSocket on the stream of the server at `base`, an absolute URL that ends in a slash; the page's cookie opens it. */
export function socket(base: string): IPipeOptions {
  const url = new URL('infer-workbench/stream', base.replace(/^http/, 'ws'));
  return {
    open: ({ opened, heard, lost }) => {
      const found = new WebSocket(url);
      found.onopen = opened;
      found.onmessage = ({ data }) => heard(String(data));
      found.onclose = lost;
      return {
        send: text => found.send(text),
        close: () => {
          found.onclose = found.onmessage = null;
          found.close();
        }
      };
    }
  };
}
