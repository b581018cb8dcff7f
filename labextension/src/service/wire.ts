/**
 * The messages between this page and the server extension about the service and its models, and the frames of the socket:
 * see docs/jupyter.md.
 *
 * Durations end in `_s` (seconds), times are Unix seconds, sizes are bytes.
 */

import type { IRunning } from './loadtestWire';

export type ServiceState = 'Stopped' | 'Starting' | 'Ready' | 'Restarting' | 'Failed' | 'Stopping';

/** One run of the service, or why it does not run. */
export interface IService {
  readonly state: ServiceState;
  /** Why it is in this state; may be empty. */
  readonly reason: string;
  /** The progress of restoring models; empty if it restores none. Absent from an older server. */
  readonly progress?: string;
  readonly since: number;
  readonly version: string;
  readonly url: string;
  /** The path of its token file on its machine; empty if unknown. Absent from an older server. */
  readonly token_file?: string;
  readonly pid: number | null;
  readonly host: string;
  readonly devices: readonly string[];
  /** The devices as a phrase: "CPU, 2 cores". */
  readonly device_words: string;
  readonly notes: readonly string[];
}

/** The answer of `api/status`, and of start, restart and stop. */
export interface IStatus {
  /** The version of the server extension. */
  readonly version: string;
  /** The version of this contract; another one is incompatible. */
  readonly api: number;
  readonly service: IService;
  readonly available: boolean;
}

export type ModelState = 'Loading' | 'Warming' | 'Ready' | 'Draining' | 'Gone' | 'Failed';

/** An input or output; -1 in `shape` is a dimension of any size. With `ranked` false any shape fits. */
export interface ITensorSpec {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly ranked?: false;
}

/** What a model was exported from, and how its answers were checked. */
export interface IProvenance {
  /** The object, as its user calls it. */
  readonly source: string;
  /** The version of each library. */
  readonly versions: Readonly<Record<string, string>>;
  /** Unix time; 0 if not known. */
  readonly exported_at: number;
  readonly notes: readonly string[];
  readonly check: { readonly agrees: boolean; readonly summary: string } | null;
}

/** The circuit breaker of one version: while it is not closed, calls are refused. */
export interface ICircuit {
  readonly state: 'closed' | 'open' | 'half-open';
  /** What opened it; empty while it is closed. */
  readonly reason: string;
  /** How often it has opened since the load. */
  readonly opened: number;
  /** The version that answers calls which it refuses, if they name none; empty: none. Absent from an older server. */
  readonly fallback?: string;
}

/** One stage of a pipeline of models. */
export interface IPipelineStep {
  readonly model: string;
  /** Null: the version that requests without one go to. */
  readonly version: string | null;
  /** The model's input -> tensor of the pipeline. */
  readonly inputs: Readonly<Record<string, string>>;
}

export interface IPipeline {
  readonly steps: readonly IPipelineStep[];
  /** The pipeline's input -> tensor. */
  readonly inputs: Readonly<Record<string, string>>;
}

/** One version of one model. */
export interface IModelStatus {
  readonly name: string;
  readonly version: string;
  readonly state: ModelState;
  /** Why it Failed; empty otherwise. */
  readonly reason: string;
  readonly platform: string;
  readonly device: string;
  readonly inputs: readonly ITensorSpec[] | null;
  readonly outputs: readonly ITensorSpec[] | null;
  readonly config: Readonly<Record<string, unknown>>;
  /** True when requests that name no version come here. */
  readonly routed: boolean;
  /** Names that requests can call this version by. Absent from an older server. */
  readonly version_labels?: readonly string[];
  /** The part of the requests without a version that comes here. Absent from an older server. */
  readonly weight?: number;
  readonly max_batch_size: number;
  /** A sentence: batched or not, and why. */
  readonly batching: string;
  /** What that rests on; empty where it is unbatched. Absent from an older server. */
  readonly batch_evidence?: 'proved' | 'sampled' | 'declared' | '';
  readonly execution: string;
  readonly digest: string;
  readonly size_bytes: number;
  readonly loaded_at: number;
  readonly load_s: number;
  readonly queued: number;
  /** Its circuit breaker; null: it has none. Absent from an older server. */
  readonly circuit?: ICircuit | null;
  readonly notes: readonly string[];
  /** What an output's columns are called, by output. Absent from an older server. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  /** Null if not known; absent from an older server. */
  readonly provenance?: IProvenance | null;
  /** The stages of a pipeline; null: it is one model. Absent from an older server. */
  readonly pipeline?: IPipeline | null;
}

/** The result of a load or of a change of settings. */
export interface ILoaded {
  readonly model: IModelStatus;
  readonly unchanged: boolean;
  readonly previous: string | null;
  readonly seconds: number;
  /** Whether a change of settings was applied without a reload. Absent from an older server. */
  readonly live?: boolean;
}

/** A model that the service's own repositories hold, or that it knows of. */
export interface IStored {
  readonly name: string;
  readonly version: string;
  readonly state: 'READY' | 'LOADING' | 'UNLOADING' | 'UNAVAILABLE';
  readonly reason: string;
}

/** A request of "Try it". */
export interface ITrial {
  /** Nested lists by input name; null for random ones that fit. */
  readonly inputs: Readonly<Record<string, unknown>> | null;
  /** The rows of random inputs. */
  readonly rows: number;
  /** The same seed gives the same inputs; null for new ones. */
  readonly seed: number | null;
  /** By input, those that are not in `inputs`. */
  readonly files?: ReadonlyMap<string, Blob>;
}

/** A tensor to show. */
export interface ITensor extends ITensorSpec {
  /** Nested lists, which are truncated if `cut`. */
  readonly data: unknown;
  readonly cut: boolean;
}

/** The microseconds that a request spent in each stage, and the batch that it ran in. */
export interface ITimings {
  readonly queue_us: number;
  readonly batch_us: number;
  readonly compute_us: number;
  readonly split_us: number;
  /** The rows of the whole batch. */
  readonly batch_size: number;
  readonly batch_requests: number;
  readonly release_reason: string;
}

/** One stage of a request to a pipeline. */
export interface IStage extends ITimings {
  /** The model, or "NAME#2" for its second stage. */
  readonly stage: string;
  readonly version: string;
  /** Microseconds from the request's acceptance until the stage was asked. */
  readonly began_us: number;
  /** Present where the stage is a pipeline itself. */
  readonly stages?: readonly IStage[];
}

/** The result of a trial. */
export interface ITried {
  readonly version: string;
  /** What was sent, but for files. */
  readonly inputs: readonly ITensor[];
  readonly outputs: readonly ITensor[];
  readonly timings: ITimings;
  /** Of a pipeline, in the order in which they ended. Absent from an older server. */
  readonly stages?: readonly IStage[];
  /** The duration that the Jupyter server measured. */
  readonly seconds: number;
}

/** The latest request of a model that ended in an error. */
export interface ILastError {
  readonly time: number;
  readonly code: string;
  readonly message: string;
}

/** One model over one tick, all its versions merged. Quantiles are null where nothing was run. */
export interface IModelFigures {
  readonly requests_per_s: number;
  readonly rows_per_s: number;
  readonly errors_per_s: number;
  readonly p50_s: number | null;
  readonly p95_s: number | null;
  readonly p99_s: number | null;
  readonly queued: number;
  readonly busy: number;
  /** Of the requests that a result cache was asked for, the part that was not run; absent where there is no cache. */
  readonly cache_ratio?: number | null;
  /** Present only in the tick in which it is new. */
  readonly last_error?: ILastError | null;
}

export interface IProcessFigures {
  /** 1.0 is one core. */
  readonly cpu: number;
  readonly resident_bytes: number;
}

export interface IGpu {
  readonly uuid: string;
  readonly name: string;
  /** 0 to 1. This and the others are null if the driver does not report them. */
  readonly utilization: number | null;
  readonly memory_bytes: number | null;
  readonly memory_used_bytes: number | null;
}

/** The whole machine; all are absent from a service that does not report them. */
export interface IMachine {
  /** 0 to 1. */
  readonly cpu?: number;
  readonly memory_bytes?: number;
  readonly memory_used_bytes?: number;
  readonly gpus?: readonly IGpu[];
}

/** The columns that history has of each model. */
export type Series = 'requests_per_s' | 'p50_s' | 'p99_s' | 'queued' | 'errors_per_s';

/** A model's past by column, all of one length; null is a gap. */
export type IColumns = { readonly time: readonly number[] } & Readonly<
  Record<Series, readonly (number | null)[]>
>;

/** The stages within a request's duration, in order. */
export const STAGES = ['decode', 'queue', 'batch', 'compute', 'split', 'encode', 'send'] as const;

export type Stage = (typeof STAGES)[number];

/** Batches by release reason and rows: `{REASON: {SIZE: COUNT}}`. */
export type Batches = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** The columns that history has only of the models in a subscription's `detail`. An older server has none. */
export type DetailSeries = 'p95_s' | 'rows_per_s' | 'busy' | 'batch_rows' | `${Stage}_s`;

export type IDetailColumns = IColumns &
  Partial<Readonly<Record<DetailSeries, readonly (number | null)[]>>> & {
    /** The batches released in each point. */
    readonly batches?: readonly (Batches | null)[];
    /** The newest error. */
    readonly last_error?: ILastError | null;
  };

/** One model over one tick, in detail. */
export interface IDetail {
  readonly batches?: Batches;
  /** Mean seconds per request; null if nothing was run. */
  readonly stages_s?: Readonly<Record<Stage, number | null>>;
  /** Mean rows per batch. */
  readonly batch_rows?: number | null;
}

export interface IHello {
  readonly type: 'hello';
  readonly version: string;
  readonly api: number;
  readonly interval_s: number;
}

export interface IFigures {
  readonly type: 'figures';
  /** Names this run of the service. */
  readonly epoch: string;
  /** Counts up by one per tick of an epoch. */
  readonly sequence: number;
  readonly time: number;
  readonly interval_s: number;
  readonly process: IProcessFigures;
  readonly machine?: IMachine;
  readonly models: Readonly<Record<string, IModelFigures>>;
  /** Details of the models in the subscription's `detail`. */
  readonly detail?: Readonly<Record<string, IDetail>>;
}

export interface IHistory {
  readonly type: 'history';
  readonly epoch: string;
  readonly models: Readonly<Record<string, IDetailColumns>>;
}

/** Frames from the server. */
export type Frame =
  | IHello
  | IFigures
  | IHistory
  | { readonly type: 'service'; readonly service: IService }
  | { readonly type: 'models'; readonly models: readonly IModelStatus[] }
  | { readonly type: 'bench'; readonly running: readonly IRunning[]; readonly changes: number }
  | { readonly type: 'error'; readonly message: string }
  | { readonly type: 'beat' };

/** What a page subscribes to; it replaces the subscription before. */
export interface ISubscription {
  readonly models: readonly string[] | '*';
  readonly window_s: number;
  readonly points: number;
  readonly detail: readonly string[];
}

/** Frames from the page. */
export type Order =
  | ({ readonly type: 'subscribe' } & ISubscription)
  | { readonly type: 'pause' }
  | { readonly type: 'resume' };
