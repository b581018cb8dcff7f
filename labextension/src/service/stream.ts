import type { IDisposable } from '@lumino/disposable';
import type { IEvent } from '../plots/contract';
import { Emitter } from '../plots/emitter';
import { backoff } from './backoff';
import type { RequestError } from './requests';
import { incompatibility, type Link, type Missing } from './state';
import { parseVisible } from './visibleText';
import type { Frame, IStatus, ISubscription, Order } from './wire';

/** The server sends a beat every 5 s. After this time without any frame the connection counts as dead. */
const SILENCE_MS = 15_000;

/** A connection that lasted this long was a good one, so the next failure is a first one. */
const SETTLED_MS = 5_000;

/** After this many connections in a row that did not open although requests are answered, the link is `blocked`. */
const BLOCKED = 3;

/** WebSocket.CLOSING; the next state is CLOSED. */
const CLOSING = 2;

/** A way for texts in both directions: a WebSocket, or the comm of a widget. */
export interface IConnection {
  send(text: string): void;
  close(): void;
}

export interface IConnectionHandlers {
  /** Optional to call: orders can be sent. Without the call they are sent at the first frame. */
  onOpen(): void;
  onText(text: string): void;
  /** The connection is closed; it gives no more texts. */
  onLost(): void;
}

export interface IStreamOptions {
  /** Asks for the status by HTTP before each connection, since a WebSocket that fails does not tell why. */
  probe?(): Promise<IStatus>;
  open(handlers: IConnectionHandlers): IConnection;
  /** The first subscription. */
  readonly subscription: ISubscription;
  /** In [0, 1); Math.random where not given. */
  chance?(): number;
}

/**
 * One client of the server's stream: it connects, subscribes, watches for silence and connects again. It imports
 * nothing of JupyterLab, since the notebook's live plot uses it too.
 *
 * A stream begins asleep. Asleep it opens no connection and does not try again; an open connection is paused, and
 * still tells of the service and its models.
 */
export class Stream implements IDisposable {
  constructor(private readonly _options: IStreamOptions) {
    this._subscription = _options.subscription;
  }

  /** Emits each frame of the server, and the probe's answer as a `service` frame. */
  get frame(): IEvent<Frame> {
    return this._frame;
  }

  get linkChanged(): IEvent<Link> {
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
      this._watchForSilence();
    } else if (awake && this._link.kind !== 'missing' && !this._connecting) {
      void this._connect();
    } else if (!awake && !this._connecting) {
      clearTimeout(this._timer);
      if (this._link.kind === 'lost') {
        this._setLink({ ...this._link, retryAt: null });
      }
    }
  }

  /** Replaces the subscription, for later connections too. The server answers with history. */
  subscribe(subscription: ISubscription): void {
    this._subscription = subscription;
    if (this._subscribed) {
      this._send({ type: 'subscribe', ...subscription });
    }
  }

  /** Connects now, also after a failure that is not retried automatically. */
  retry(): void {
    if (this._link.kind !== 'live' && !this._connecting && !this._disposed) {
      void this._connect();
    }
  }

  /** Closes the connection and sleeps, as at the beginning. */
  reset(): void {
    this._awake = false;
    this._drop();
    this._setLink({ kind: 'idle' });
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (!this._disposed) {
      this._disposed = true;
      this._drop();
      this._frame.clear();
      this._linkChanged.clear();
    }
  }

  private async _connect(): Promise<void> {
    clearTimeout(this._timer);
    this._connecting = true;
    this._setLink(
      this._link.kind === 'lost' ? { ...this._link, retryAt: null } : { kind: 'connecting' }
    );
    if (this._options.probe === undefined || (await this._probe(this._options.probe))) {
      this._open();
    }
  }

  /** Whether a connection is worth an attempt; where it is not, the link says why. */
  private async _probe(probe: () => Promise<IStatus>): Promise<boolean> {
    let status: IStatus;
    try {
      status = await probe();
    } catch (error) {
      if (!this._disposed) {
        const why = permanentCause(error);
        if (why === null) {
          this._lose(false);
        } else {
          this._giveUp({ kind: 'missing', why, message: (error as Error).message });
        }
      }
      return false;
    }
    if (this._disposed) {
      return false;
    }
    const incompatible = incompatibility(status.api, status.version);
    if (incompatible !== null) {
      this._giveUp(incompatible);
      return false;
    }
    this._frame.emit({ type: 'service', service: status.service });
    return true;
  }

  private _open(): void {
    this._timer = setTimeout(() => this._lose(true), SILENCE_MS);
    const opening = ++this._openings;
    const ifCurrent = (act: () => void) => opening === this._openings && act();
    this._connection = this._options.open({
      onOpen: () => ifCurrent(() => this._sendSubscription()),
      onText: text => ifCurrent(() => this._onText(text)),
      onLost: () => ifCurrent(() => this._lose(this._link.kind !== 'live'))
    });
  }

  private _onText(text: string): void {
    this._heardAt = Date.now();
    let frame: Frame;
    try {
      frame = parseVisible(text) as Frame;
    } catch {
      return;
    }
    if (frame.type === 'hello') {
      const incompatible = incompatibility(frame.api, frame.version);
      if (incompatible !== null) {
        this._giveUp(incompatible);
      }
    }
    if (this._connecting) {
      this._begin();
    }
    if (frame.type === 'error') {
      console.warn(`infer-workbench: ${frame.message}`);
    }
    this._frame.emit(frame);
  }

  /** The first frame of a connection came: mostly a hello, but a busy kernel may begin with another one. */
  private _begin(): void {
    this._connecting = false;
    this._liveAt = Date.now();
    this._refusals = 0;
    this._setLink({ kind: 'live' });
    if (!this._subscribed) {
      this._sendSubscription();
    }
    this._watchForSilence();
  }

  private _sendSubscription(): void {
    this._subscribed = true;
    this._send({ type: 'subscribe', ...this._subscription });
    if (!this._awake) {
      this._send({ type: 'pause' });
    }
  }

  /** Only while awake: a paused server owes no frames. */
  private _watchForSilence(): void {
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

  private _giveUp(link: Link): void {
    this._drop();
    this._setLink(link);
  }

  /** Counting up first makes events of the old connection, which may still come, belong to no current one. */
  private _drop(): void {
    clearTimeout(this._timer);
    this._openings += 1;
    this._connecting = this._subscribed = false;
    const connection = this._connection;
    this._connection = null;
    connection?.close();
  }

  private _send(order: Order): void {
    this._connection?.send(JSON.stringify(order));
  }

  private _setLink(link: Link): void {
    this._link = link;
    this._linkChanged.emit(link);
  }

  private readonly _frame = new Emitter<Frame>();
  private readonly _linkChanged = new Emitter<Link>();
  private _subscription: ISubscription;
  private _link: Link = { kind: 'idle' };
  private _connection: IConnection | null = null;
  /** Numbers the attempts to open a connection. */
  private _openings = 0;
  private _awake = false;
  private _disposed = false;
  /** From the start of the probe to the first frame, or to the failure that ends the attempt. */
  private _connecting = false;
  /** Whether the current connection was told the subscription. */
  private _subscribed = false;
  /** Failures in a row. */
  private _failures = 0;
  /** Connections in a row that did not open although the probe was answered. */
  private _refusals = 0;
  private _liveAt = 0;
  private _heardAt = 0;
  /** One at a time: the next attempt while lost, the wait for the first frame, or the watch for silence while live. */
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

/** A WebSocket as a connection. The server speaks first, so `onOpen` is not needed. */
export function overWebSocket(
  socket: WebSocket,
  { onText, onLost }: IConnectionHandlers
): IConnection {
  socket.onmessage = ({ data }) => onText(String(data));
  socket.onclose = onLost;
  return {
    send: text => {
      // A socket that is closing is about to be replaced; the next one is told the whole subscription.
      if (socket.readyState < CLOSING) {
        socket.send(text);
      }
    },
    close: () => {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
  };
}

/** Why a retry cannot help; null where the failure may pass. */
function permanentCause(error: unknown): Missing | null {
  switch ((error as Partial<RequestError>).status) {
    case 404:
      return 'absent';
    case 401:
    case 403:
      return 'forbidden';
    case -1:
    case undefined:
      return 'foreign';
    default:
      return null;
  }
}
