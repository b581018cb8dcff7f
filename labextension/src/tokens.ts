import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import type { ILoadTests } from './loadtest/loadtestModel';
import type { IPageStream } from './plots/contract';
import type { ILoadRequest, IView } from './service/state';
import type { Settings } from './forms/modelSettingsForm';
import type {
  IColumns,
  ILastError,
  ILoaded,
  IMachine,
  IModelFigures,
  IProcessFigures,
  IStored,
  ITrial,
  ITried
} from './service/wire';

/** Of routes, plugins and commands. */
export const NAMESPACE = 'infer-workbench';

/** Of translations. */
export const DOMAIN = 'infer_workbench';

export namespace PluginIDs {
  export const model = `${NAMESPACE}:model`;
  export const panel = `${NAMESPACE}:panel`;
  export const commands = `${NAMESPACE}:commands`;
  export const dashboard = `${NAMESPACE}:dashboard`;
  export const output = `${NAMESPACE}:output`;
}

export namespace CommandIDs {
  export const open = `${NAMESPACE}:open`;
  export const start = `${NAMESPACE}:start`;
  export const stop = `${NAMESPACE}:stop`;
  export const restart = `${NAMESPACE}:restart`;
  export const load = `${NAMESPACE}:load`;
  export const loadStored = `${NAMESPACE}:load-stored`;
  export const unload = `${NAMESPACE}:unload`;
  export const serveFile = `${NAMESPACE}:serve-file`;
  export const tryOut = `${NAMESPACE}:try`;
  export const set = `${NAMESPACE}:set`;
  export const copyAddress = `${NAMESPACE}:copy-address`;
  export const dashboard = `${NAMESPACE}:dashboard`;
  export const logs = `${NAMESPACE}:logs`;
  export const copyCurl = `${NAMESPACE}:copy-curl`;
  export const copyPython = `${NAMESPACE}:copy-python`;
  export const loadTest = `${NAMESPACE}:load-test`;
  export const stopLoadTest = `${NAMESPACE}:stop-load-test`;
  export const report = `${NAMESPACE}:report`;
}

export namespace WidgetIDs {
  export const panel = `${NAMESPACE}-panel`;
  export const dashboard = `${NAMESPACE}-dashboard`;
  export const logs = `${NAMESPACE}-logs`;
  export const report = `${NAMESPACE}-report`;
}

/**
 * The inference service as this page knows it. Nothing is connected before the first `addViewer`.
 *
 * `state` changes rarely and is replaced as a whole; figures change some times a second and are read where drawn.
 */
export interface IServiceModel extends IDisposable, IPageStream {
  readonly state: IView;
  readonly stateChanged: ISignal<IServiceModel, IView>;

  /** Emitted at each tick, and when what is known was dropped. */
  readonly figuresChanged: ISignal<IServiceModel, void>;
  /** Unix seconds of the last tick or row of history; 0: none yet. */
  readonly time: number;
  readonly process: IProcessFigures | null;
  readonly machine: IMachine | null;
  figures(name: string): IModelFigures | null;
  /** The last minute of one model; null where nothing is known. To be read, and not to be kept. */
  columns(name: string): IColumns | null;
  /** The latest request of a model that ended in an error; null: none is known. */
  lastError(name: string): ILastError | null;

  readonly loadTests: ILoadTests;

  /** Say that someone looks, until the result is disposed of: without, nothing is sent. */
  addViewer(): IDisposable;
  /** Connect at once, also after a failure that is not tried again by itself. */
  retry(): void;

  /** These resolve when done, and reject with a RequestError that is in `state` too. */
  start(): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  load(request: ILoadRequest): Promise<ILoaded>;
  unload(name: string): Promise<void>;

  /** These reject with a RequestError that whoever asked shows. */
  set(name: string, settings: Settings): Promise<ILoaded>;
  tryOut(name: string, trial: ITrial): Promise<ITried>;
  /** What lies in the service's own repositories, loaded or not. */
  stored(): Promise<readonly IStored[]>;
  /** The service's last log lines, also where it does not run. */
  logs(lines: number): Promise<readonly string[]>;
  /**
   * Forget what went wrong: with the service (no name), with a model, or with an attempt to load. A name under which
   * nothing but that attempt was ever there is unloaded too.
   */
  dismiss(name?: string): void;
  /** Bring a model into sight, where it is listed. */
  reveal(name: string): void;
  /** Say that what was to be brought into sight was. */
  revealed(name: string): void;
}

export const IServiceModel = new Token<IServiceModel>(
  `${NAMESPACE}:IServiceModel`,
  'The inference service: its state, its models, their live figures, and what can be done with them.'
);

/** The side panel, as others may use it. */
export interface IInferencePanel {
  /** Bring a model into sight, with a part of its card unfolded. */
  reveal(name: string, part: 'try' | 'settings'): void;
  /** Bring load tests into sight, ready to begin one of a model. */
  revealLoadTests(name: string): void;
}

export const IInferencePanel = new Token<IInferencePanel>(
  `${NAMESPACE}:IInferencePanel`,
  'The side panel of the inference service.'
);
