import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import { backoff } from './backoff';
import { RequestError } from './requests';
import { incompatibility, type Link, type Missing } from './state';
import type { Frame, IStatus, ISubscription, Order } from './wire';

/** Told nothing for so long, not even a beat (5 s), the socket is taken for dead: a laptop slept, a proxy forgot. */
const SILENCE_MS = 15_000;

/** A socket that lived so long was a good one: the next failure is a first one. */
const SETTLED_MS = 5_000;

/** After so many sockets that did not open while requests were answered, say so. */
const BLOCKED = 3;

/** WebSocket.CLOSING; what follows is CLOSED. */
const CLOSING = 2;

export interface IStreamOptions {
  /** Ask for the status by HTTP: a WebSocket that fails does not tell why. */
  probe(): Promise<IStatus>;
  open(): WebSocket;
  /** What is wanted at first. */
  readonly subscription: ISubscription;
  /** In [0, 1); Math.random where not given. */
  chance?(): number;
}

/**
 * The one WebSocket of a page, kept while someone looks.
 *
 * Asleep (as it begins) it opens nothing and tries nothing again; a socket that is open is paused, and still hears
 * of the service and its models.
 */
export class Stream implements IDisposable {
  constructor(private readonly _options: IStreamOptions) {
    this._subscription = _options.subscription;
  }

  /** What the server said; begins with the probe's answer as a `service` frame. */
  get frame(): ISignal<this, Frame> {
    return this._frame;
  }

  get linkChanged(): ISignal<this, Link> {
    return this._linkChanged;
  }

  get link(): Link {
    return this._link;
  }

  get awake(): boolean {
    return this._awake;
  }

  set awake(awake: boolean) {
    if (awake === this._awake || this._disposed) {
      return;
    }
    this._awake = awake;
    if (this._link.kind === 'live') {
      this._send({ type: awake ? 'resume' : 'pause' });
      this._listen();
    } else if (awake && this._link.kind !== 'missing' && !this._trying) {
      void this._connect();
    } else if (!awake && !this._trying) {
      clearTimeout(this._timer);
      if (this._link.kind === 'lost') {
        this._setLink({ ...this._link, retryAt: null });
      }
    }
  }

  /** Want something else from now on, also over sockets to come; answered by history. */
  subscribe(subscription: ISubscription): void {
    this._subscription = subscription;
    if (this._link.kind === 'live') {
      this._send({ type: 'subscribe', ...subscription });
    }
  }

  /** Try now what would be tried later, or never. */
  retry(): void {
    if (this._link.kind !== 'live' && !this._trying && !this._disposed) {
      void this._connect();
    }
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (!this._disposed) {
      this._disposed = true;
      clearTimeout(this._timer);
      this._drop();
      Signal.clearData(this);
    }
  }

  private async _connect(): Promise<void> {
    clearTimeout(this._timer);
    this._trying = true;
    this._setLink(
      this._link.kind === 'lost' ? { ...this._link, retryAt: null } : { kind: 'connecting' }
    );
    let status: IStatus;
    try {
      status = await this._options.probe();
    } catch (error) {
      this._trying = false;
      if (this._disposed) {
        return;
      }
      const missing = whatIsMissing(error);
      if (missing === null) {
        this._lose(false);
      } else {
        this._setLink({ kind: 'missing', why: missing, message: (error as Error).message });
      }
      return;
    }
    if (this._disposed) {
      return;
    }
    const incompatible = incompatibility(status.api, status.version);
    if (incompatible !== null) {
      this._trying = false;
      this._setLink(incompatible);
      return;
    }
    this._frame.emit({ type: 'service', service: status.service });
    this._open();
  }

  private _open(): void {
    const socket = this._options.open();
    this._socket = socket;
    socket.onmessage = ({ data }) => this._hear(String(data));
    socket.onclose = () => this._lose(this._link.kind !== 'live');
    this._timer = setTimeout(() => this._lose(true), SILENCE_MS);
  }

  private _hear(text: string): void {
    this._heardAt = Date.now();
    let frame: Frame;
    try {
      frame = JSON.parse(text) as Frame;
    } catch {
      return;
    }
    if (frame.type === 'hello') {
      this._greet(frame.api, frame.version);
    }
    if (frame.type === 'error') {
      console.warn(`infer-workbench: ${frame.message}`);
    }
    this._frame.emit(frame);
  }

  private _greet(api: number, version: string): void {
    this._trying = false;
    const incompatible = incompatibility(api, version);
    if (incompatible !== null) {
      this._drop();
      this._setLink(incompatible);
      return;
    }
    this._liveAt = Date.now();
    this._refusals = 0;
    this._setLink({ kind: 'live' });
    this._send({ type: 'subscribe', ...this._subscription });
    if (!this._awake) {
      this._send({ type: 'pause' });
    }
    this._listen();
  }

  /** Watch for silence while awake: paused, the server owes us nothing. */
  private _listen(): void {
    clearTimeout(this._timer);
    this._heardAt = Date.now();
    if (!this._awake) {
      return;
    }
    const look = () => {
      const left = this._heardAt + SILENCE_MS - Date.now();
      if (left > 0) {
        this._timer = setTimeout(look, left);
      } else {
        this._lose(false);
      }
    };
    this._timer = setTimeout(look, SILENCE_MS);
  }

  private _lose(refused: boolean): void {
    this._trying = false;
    this._drop();
    if (this._link.kind === 'live' && Date.now() - this._liveAt > SETTLED_MS) {
      this._failures = 0;
    }
    this._failures += 1;
    this._refusals = refused ? this._refusals + 1 : 0;
    const blocked = this._refusals >= BLOCKED;
    if (!this._awake) {
      this._setLink({ kind: 'lost', retryAt: null, blocked });
      return;
    }
    const wait = backoff(this._failures, (this._options.chance ?? Math.random)());
    this._setLink({ kind: 'lost', retryAt: Date.now() + wait, blocked });
    this._timer = setTimeout(() => void this._connect(), wait);
  }

  /** Forget the socket first: a close event that comes later is about nothing any more. */
  private _drop(): void {
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    if (socket !== null) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  private _send(order: Order): void {
    // One that is closing is about to be replaced, and the next one is told all of it.
    if (this._socket !== null && this._socket.readyState < CLOSING) {
      this._socket.send(JSON.stringify(order));
    }
  }

  private _setLink(link: Link): void {
    this._link = link;
    this._linkChanged.emit(link);
  }

  private readonly _frame = new Signal<this, Frame>(this);
  private readonly _linkChanged = new Signal<this, Link>(this);
  private _subscription: ISubscription;
  private _link: Link = { kind: 'idle' };
  private _socket: WebSocket | null = null;
  private _awake = false;
  private _disposed = false;
  /** Between the begin of a probe and the hello, or the failure, that ends the attempt. */
  private _trying = false;
  /** In a row. */
  private _failures = 0;
  /** In a row: sockets that did not open though the probe was answered. */
  private _refusals = 0;
  private _liveAt = 0;
  private _heardAt = 0;
  /** Of the next attempt while lost, of the wait for a hello, of the watch for silence while live. */
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

/** What no waiting will mend; null: a failure that may pass. */
function whatIsMissing(error: unknown): Missing | null {
  if (!(error instanceof RequestError)) {
    return 'foreign';
  }
  switch (error.status) {
    case 404:
      return 'absent';
    case 401:
    case 403:
      return 'forbidden';
    case -1:
      return 'foreign';
    default:
      return null;
  }
}
