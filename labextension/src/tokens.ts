import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import type { ILoadTests } from './loadtest/loadtestModel';
import type { IShares } from './share/shareModel';
import type { Versions } from './versions/versionsModel';
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

/** The prefix of routes, plugins and commands. */
export const NAMESPACE = 'infer-workbench';

/** The domain of translations. */
export const DOMAIN = 'infer_workbench';

export namespace PluginIDs {
  export const model = `${NAMESPACE}:model`;
  export const panel = `${NAMESPACE}:panel`;
  export const commands = `${NAMESPACE}:commands`;
  export const dashboard = `${NAMESPACE}:dashboard`;
  export const plot = `${NAMESPACE}:plot`;
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
  export const plot = `${NAMESPACE}:plot`;
  export const logs = `${NAMESPACE}:logs`;
  export const copyCurl = `${NAMESPACE}:copy-curl`;
  export const copyPython = `${NAMESPACE}:copy-python`;
  export const loadTest = `${NAMESPACE}:load-test`;
  export const stopLoadTest = `${NAMESPACE}:stop-load-test`;
  export const report = `${NAMESPACE}:report`;
  export const route = `${NAMESPACE}:route`;
  export const rollback = `${NAMESPACE}:rollback`;
  export const label = `${NAMESPACE}:label`;
  export const unloadVersion = `${NAMESPACE}:unload-version`;
}

export namespace WidgetIDs {
  export const panel = `${NAMESPACE}-panel`;
  export const dashboard = `${NAMESPACE}-dashboard`;
  /** Begins the ids of tabs with a single plot. */
  export const plot = `${NAMESPACE}-plot`;
  export const logs = `${NAMESPACE}-logs`;
  export const report = `${NAMESPACE}-report`;
}

/**
 * The inference service as this page knows it. Nothing is connected before the first `addViewer`.
 *
 * `state` changes rarely and is replaced as a whole. Figures change a few times a second and are read when drawn.
 */
export interface IServiceModel extends IDisposable, IPageStream {
  readonly state: IView;
  readonly stateChanged: ISignal<IServiceModel, IView>;

  /** Emitted at each tick, and when the figures were dropped. */
  readonly figuresChanged: ISignal<IServiceModel, void>;
  /** Unix seconds of the last tick or row of history; 0 before the first. */
  readonly time: number;
  readonly process: IProcessFigures | null;
  readonly machine: IMachine | null;
  figures(name: string): IModelFigures | null;
  /** The last minute of one model; null if unknown. Read it at once: later ticks change it. */
  columns(name: string): IColumns | null;
  /** The latest request of a model that ended in an error; null if none is known. */
  lastError(name: string): ILastError | null;

  readonly loadTests: ILoadTests;
  readonly shares: IShares;
  readonly versions: Versions;

  /** Registers a visible viewer until the result is disposed of. Without a viewer nothing is sent. */
  addViewer(): IDisposable;
  /** Connects at once, also after a failure that is not retried automatically. */
  retry(): void;

  /** These resolve when done, and reject with a RequestError that is in `state` too. */
  start(): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  load(request: ILoadRequest): Promise<ILoaded>;
  unload(name: string): Promise<void>;

  /** These reject with a RequestError, which the caller has to show. */
  set(name: string, settings: Settings): Promise<ILoaded>;
  tryOut(name: string, trial: ITrial): Promise<ITried>;
  /** The models in the service's own repositories, loaded or not. */
  stored(): Promise<readonly IStored[]>;
  /** The service's last log lines, even if it does not run. */
  logs(lines: number): Promise<readonly string[]>;
  /**
   * Dismisses the failure of the service (no name), of a model, or of an attempt to load. If nothing but the attempt
   * exists under a name, the name is unloaded too.
   */
  dismiss(name?: string): void;
  /** Scrolls a model into view where it is listed. */
  reveal(name: string): void;
  /** Confirms that a model was scrolled into view. */
  revealed(name: string): void;
}

export const IServiceModel = new Token<IServiceModel>(
  `${NAMESPACE}:IServiceModel`,
  'The inference service: its state, its models, their live figures, and what can be done with them.'
);

/** The side panel, for other plugins. */
export interface IInferencePanel {
  /** Scrolls a model into view, with a part of its card expanded. */
  reveal(name: string, part: 'try' | 'settings' | 'versions'): void;
  /** Scrolls the load tests into view, with a model selected. */
  revealLoadTests(name: string): void;
  /** Scrolls the shares into view. */
  revealEndpoint(): void;
}

export const IInferencePanel = new Token<IInferencePanel>(
  `${NAMESPACE}:IInferencePanel`,
  'The side panel of the inference service.'
);
