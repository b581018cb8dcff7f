import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';
import type { IVisibility } from './visibility';
import { SparklineBuffer } from './sparklineBuffer';
import type { Settings } from '../forms/modelSettingsForm';
import { LoadTests } from '../loadtest/loadtestModel';
import { Shares } from '../share/shareModel';
import type { ISlow, ISpan, IWant, IWatch, WatchedFrame } from '../plots/contract';
import { smoothed, withTick } from './smoothing';
import { requestAPI, RequestError, requestLines, requestText } from './requests';
import {
  type Event,
  type ILoadRequest,
  INITIAL,
  isOnlyRefused,
  type IView,
  reduce,
  type Verb
} from './state';
import { overWebSocket, Stream } from './stream';
import { type IServiceModel, NAMESPACE } from '../tokens';
import { Subscriptions } from './subscriptions';
import { Versions } from '../versions/versionsModel';
import { trialRequest } from './trialRequest';
import type {
  Frame,
  IColumns,
  IFigures,
  IHistory,
  ILastError,
  ILoaded,
  IMachine,
  IModelFigures,
  IProcessFigures,
  IStatus,
  IStored,
  ISubscription,
  ITrial,
  ITried
} from './wire';

/** Sparklines show a minute, with one row per second. */
export const WINDOW_S = 60;
const BIN_S = 1;

/** The subscription for the cards. */
const CARDS: ISubscription = {
  models: '*',
  window_s: WINDOW_S,
  points: WINDOW_S / BIN_S,
  detail: []
};

/** Status requests must not keep an idle Jupyter server alive. */
const QUIET = 'no_track_activity=1';

/** A server that does not answer in this time counts as away. */
const PROBE_MS = 15_000;

/** Figures are late after this time, or after this many ticks, whichever is longer. */
const LATE_S = 3;
const LATE_TICKS = 4;

/** Holds the stream and the state received over it, and sends the requests. */
export class ServiceModel implements IServiceModel {
  constructor(
    private readonly _settings: ServerConnection.ISettings,
    private readonly _visibility: IVisibility
  ) {
    this._stream = new Stream({
      probe: () =>
        this._request<IStatus>(`api/status?${QUIET}`, { signal: AbortSignal.timeout(PROBE_MS) }),
      open: handlers => overWebSocket(new _settings.WebSocket(streamURL(_settings)), handlers),
      subscription: CARDS
    });
    this._stream.frame.connect(frame => this._onFrame(frame));
    this._stream.linkChanged.connect(link => {
      this._apply({ type: 'link', link });
      this._restartLateTimer();
    });
    _visibility.changed.connect((_, visible) => {
      this._stream.awake = visible;
      this._restartLateTimer();
    });
    _visibility.online.connect(() => {
      if (_visibility.visible && this._stream.link.kind === 'lost') {
        this._stream.retry();
      }
    });
  }

  get state(): IView {
    return this._state;
  }

  get stateChanged(): ISignal<this, IView> {
    return this._stateChanged;
  }

  get figuresChanged(): ISignal<this, void> {
    return this._figuresChanged;
  }

  get time(): number {
    return this._time;
  }

  get process(): IProcessFigures | null {
    return this._ticks[this._ticks.length - 1]?.process ?? null;
  }

  get machine(): IMachine | null {
    return this._ticks[this._ticks.length - 1]?.machine ?? null;
  }

  figures(name: string): IModelFigures | null {
    return smoothed(this._ticks, name);
  }

  columns(name: string): IColumns | null {
    return this._buffers.get(name)?.data ?? null;
  }

  lastError(name: string): ILastError | null {
    return this._errors.get(name) ?? null;
  }

  addViewer(): IDisposable {
    return this._visibility.addViewer();
  }

  readonly api = 1;

  readonly loadTests = new LoadTests({
    get: path => this._request(path),
    post: (path, body) => this._post(path, body),
    text: path => requestText(this._settings, path)
  });

  readonly shares = new Shares({
    get: path => this._request(path),
    post: (path, body) => this._post(path, body),
    remove: async path => void (await this._request(path, { method: 'DELETE' }))
  });

  readonly versions = new Versions({
    get: path => this._request(path),
    post: (path, body) => this._post(path, body),
    lines: (path, onLine, signal) => requestLines(this._settings, path, onLine, signal)
  });

  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch {
    const look = this._visibility.addViewer();
    const watch = this._subscriptions.add(want, onFrame);
    return {
      update: next => watch.update(next),
      dispose: () => {
        watch.dispose();
        look.dispose();
      }
    };
  }

  async slowest(name: string, { since, until }: ISpan): Promise<readonly ISlow[]> {
    const route = `api/models/${encodeURIComponent(name)}/slowest`;
    const answer = await this._request<{ requests: readonly ISlow[] }>(
      `${route}?since=${since}&until=${until}&${QUIET}`
    );
    return answer.requests;
  }

  retry(): void {
    this._stream.retry();
  }

  start(): Promise<void> {
    return this._control('start');
  }

  stop(): Promise<void> {
    return this._control('stop');
  }

  restart(): Promise<void> {
    return this._control('restart');
  }

  async load(request: ILoadRequest): Promise<ILoaded> {
    const { name, path, config = {}, force = false } = request;
    this._apply({ type: 'load', request });
    try {
      const loaded = path
        ? await this._post<ILoaded>(modelPath(name, 'load'), { path, config, force })
        : await this._post<ILoaded>(`api/repository/${encodeURIComponent(name)}/load`, config);
      this._apply({ type: 'loaded', name, unchanged: loaded.unchanged });
      return loaded;
    } catch (error) {
      const { message, reason } = error as RequestError;
      const forceable = reason === 'signature_changed';
      this._apply({ type: 'refused', name, trouble: message, forceable });
      throw error;
    }
  }

  unload(name: string): Promise<void> {
    return this._act(name, 'unload', async () => {
      await this._post(modelPath(name, 'unload'));
    });
  }

  set(name: string, settings: Settings): Promise<ILoaded> {
    return this._post<ILoaded>(modelPath(name, 'set'), settings);
  }

  tryOut(name: string, trial: ITrial): Promise<ITried> {
    return this._request<ITried>(modelPath(name, 'try'), trialRequest(trial));
  }

  stored(): Promise<readonly IStored[]> {
    return this._request<readonly IStored[]>(`api/repository?${QUIET}`);
  }

  async logs(lines: number): Promise<readonly string[]> {
    const answer = await this._request<{ lines: string[] }>(`api/logs?lines=${lines}&${QUIET}`);
    return answer.lines;
  }

  dismiss(name = ''): void {
    const forget = () => this._apply({ type: 'dismiss', place: name });
    if (isOnlyRefused(this._state, name)) {
      // The service keeps the failed load, which would be shown again. If it cannot be unloaded, its card says why.
      void this.unload(name)
        .catch(() => undefined)
        .finally(forget);
    } else {
      forget();
    }
  }

  reveal(name: string): void {
    this._apply({ type: 'reveal', name });
  }

  revealed(name: string): void {
    this._apply({ type: 'revealed', name });
  }

  get isDisposed(): boolean {
    return this._stream.isDisposed;
  }

  dispose(): void {
    if (!this.isDisposed) {
      clearTimeout(this._lateTimer);
      this._stream.dispose();
      this._visibility.dispose();
      Signal.clearData(this);
    }
  }

  private _control(verb: Verb): Promise<void> {
    return this._act('', verb, async () => {
      const status = await this._post<IStatus>(`api/${verb}`);
      this._onFrame({ type: 'service', service: status.service });
    });
  }

  private async _act(place: string, verb: Verb, act: () => Promise<void>): Promise<void> {
    this._apply({ type: 'begin', place, verb });
    try {
      await act();
    } catch (error) {
      this._apply({ type: 'end', place, trouble: (error as RequestError).message });
      throw error;
    }
    this._apply({ type: 'end', place, trouble: '' });
  }

  private _request<T>(path: string, init?: RequestInit): Promise<T> {
    return requestAPI<T>(this._settings, path, init);
  }

  private _post<T>(path: string, body: object = {}): Promise<T> {
    return this._request<T>(path, { method: 'POST', body: JSON.stringify(body) });
  }

  private _onFrame(frame: Frame): void {
    switch (frame.type) {
      case 'figures':
        this._onFigures(frame);
        this._subscriptions.publish(frame);
        return;
      case 'history':
        this._onHistory(frame);
        this._subscriptions.publish(frame);
        return;
      case 'service':
        this._apply(frame);
        if (frame.service.state !== 'Ready' && this._ticks.length > 0) {
          this._ticks = [];
          this._figuresChanged.emit();
        }
        this._restartLateTimer();
        return;
      case 'hello':
        this._interval_s = frame.interval_s;
        this._apply(frame);
        this.loadTests.reset();
        return;
      case 'bench':
        this.loadTests.update(frame);
        return;
      default:
        this._apply(frame);
    }
  }

  private _onFigures(figures: IFigures): void {
    this._enterEpoch(figures.epoch);
    this._ticks = withTick(this._ticks, figures);
    this._time = figures.time;
    for (const [name, tick] of Object.entries(figures.models)) {
      this._bufferOf(name).push(figures.time, tick);
      if (tick.last_error) {
        this._errors.set(name, tick.last_error);
      }
    }
    for (const name of this._buffers.keys()) {
      if (!(name in figures.models)) {
        this._buffers.delete(name);
        this._errors.delete(name);
      }
    }
    this._restartLateTimer();
    this._figuresChanged.emit();
  }

  private _onHistory(history: IHistory): void {
    this._enterEpoch(history.epoch);
    for (const name of this._buffers.keys()) {
      if (!(name in history.models)) {
        this._buffers.delete(name);
      }
    }
    for (const [name, past] of Object.entries(history.models)) {
      const buffer = this._bufferOf(name);
      if (!isAsFine(buffer.data.time, past.time)) {
        buffer.reset(past);
      }
      if (past.last_error) {
        this._errors.set(name, past.last_error);
      }
      this._time = Math.max(this._time, past.time[past.time.length - 1] ?? 0);
    }
    this._figuresChanged.emit();
  }

  /** A new epoch is a new run of the service, so its lines start over. */
  private _enterEpoch(epoch: string): void {
    if (epoch !== this._epoch) {
      this._epoch = epoch;
      this._buffers.clear();
      this._errors.clear();
    }
  }

  /** Restarts the timer that marks figures as late, if figures are expected at all. */
  private _restartLateTimer(): void {
    clearTimeout(this._lateTimer);
    this._apply({ type: 'late', late: false });
    const { link, service } = this._state;
    if (this._visibility.visible && link.kind === 'live' && service?.state === 'Ready') {
      const wait_s = Math.max(LATE_S, LATE_TICKS * this._interval_s);
      this._lateTimer = setTimeout(() => this._apply({ type: 'late', late: true }), wait_s * 1000);
    }
  }

  private _bufferOf(name: string): SparklineBuffer {
    let buffer = this._buffers.get(name);
    if (buffer === undefined) {
      buffer = new SparklineBuffer(WINDOW_S, BIN_S);
      this._buffers.set(name, buffer);
    }
    return buffer;
  }

  private _apply(event: Event): void {
    const state = reduce(this._state, event);
    if (state !== this._state) {
      this._state = state;
      this._stateChanged.emit(state);
    }
  }

  private readonly _stateChanged = new Signal<this, IView>(this);
  private readonly _figuresChanged = new Signal<this, void>(this);
  private readonly _stream: Stream;
  private readonly _subscriptions = new Subscriptions(() =>
    this._stream.subscribe(this._subscriptions.merged(CARDS))
  );
  private readonly _buffers = new Map<string, SparklineBuffer>();
  private readonly _errors = new Map<string, ILastError>();
  private _interval_s = 0;
  private _lateTimer: ReturnType<typeof setTimeout> | undefined;
  private _state: IView = INITIAL;
  /** The ticks of the last two seconds. */
  private _ticks: readonly IFigures[] = [];
  private _time = 0;
  private _epoch = '';
}

function modelPath(name: string, verb: 'load' | 'unload' | 'set' | 'try'): string {
  return `api/models/${encodeURIComponent(name)}/${verb}`;
}

/** Whether the known last minute is as fine as that of a history, which may be a coarse one of a longer window. */
function isAsFine(known: readonly number[], past: readonly number[]): boolean {
  const newest = past.at(-1) ?? 0;
  const young = past.filter(time => time > newest - WINDOW_S).length;
  return known.length >= young && (known.at(-1) ?? 0) >= newest - 2 * BIN_S;
}

/** As JupyterLab itself opens sockets: the cookie authenticates, and the token only without a cookie. */
function streamURL({ wsUrl, token, appendToken }: ServerConnection.ISettings): string {
  const url = URLExt.join(wsUrl, NAMESPACE, 'stream');
  return appendToken && token ? `${url}?token=${encodeURIComponent(token)}` : url;
}
