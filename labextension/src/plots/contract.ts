/**
 * What this folder asks of a page and gives to it. It is drawn the same in JupyterLab's side panel, in the dashboard
 * and in the output of a notebook cell, so it knows no framework: a node in, frames in, events out.
 */

import type { IFigures, IHistory } from '../service/wire';

/** The part of JupyterLab's `TranslationBundle` that is used here. */
export interface ITrans {
  __(text: string, ...values: unknown[]): string;
  _n(one: string, many: string, count: number, ...values: unknown[]): string;
}

/** English, for a page without translations: `%1` is the first value, in `_n` the count. */
export const ENGLISH: ITrans = {
  __: fill,
  _n: (one, many, count, ...values) => fill(count === 1 ? one : many, count, ...values)
};

function fill(text: string, ...values: unknown[]): string {
  return text.replace(/%(\d)/g, (_, number: string) => String(values[Number(number) - 1] ?? ''));
}

/** From when to when, in Unix seconds. */
export interface ISpan {
  readonly since: number;
  readonly until: number;
}

/** Something that happens again and again; `connect` gives back how to stop listening. */
export interface IEvent<T> {
  connect(listener: (value: T) => void): () => void;
}

/** Where in time somebody looks, and in whose plots; null: nowhere. */
export interface ILook {
  readonly by: unknown;
  readonly time: number | null;
}

/** An event that any of its listeners may cause. */
export interface IShared<T> extends IEvent<T> {
  emit(value: T): void;
}

export type Layout = 'compact' | 'large';

/** Seconds that can be looked at. */
export const WINDOWS = [60, 300, 900] as const;

/** One of the pictures. */
export type PlotName = 'throughput' | 'latency' | 'stages' | 'batches' | 'queue' | 'errors';

/** Colours that replace those read from the page's theme; any may be left out. */
export type Colours = Readonly<Record<string, string>>;

export interface ILivePlotsOptions {
  /** Whose figures, by name. */
  readonly model: string;
  /** English where not given. */
  readonly trans?: ITrans;
  /** All where not given, in this order. */
  readonly plots?: readonly PlotName[];
  readonly layout?: Layout;
  readonly window_s?: number;
  readonly colours?: Colours;
  /** Lets the user send a request to the model; offered where there was none. */
  readonly onTry?: (() => void) | undefined;
  /** Shared by plots of several models: what is under the pointer in one is shown in all. */
  readonly look?: IShared<ILook> | undefined;
}

/**
 * The live figures of one model.
 *
 * Frames may come at any rate and in any state: they are drawn in one animation frame, and not at all while the node
 * is out of sight. History fills what is not known better already; another `epoch` is a restart of the service, which
 * is marked. Frames of other models are passed over.
 */
export interface ILivePlots {
  /** The seconds that are shown. */
  readonly window_s: number;
  readonly paused: boolean;
  setHistory(history: IHistory): void;
  push(figures: IFigures): void;
  /** Show another time; ask for `history` of that window afterwards where it is longer. */
  setWindow(seconds: number): void;
  /** Paused, the picture stands still and frames are still taken in. */
  setPaused(paused: boolean): void;
  setLayout(layout: Layout): void;
  /** Read the colours of the page anew: canvas does not follow CSS. */
  retheme(): void;
  /** A moment was clicked, or Enter pressed on it: who was slow then? */
  readonly selected: IEvent<ISpan>;
  /** Take away the mark of what was selected. */
  clearSelection(): void;
  dispose(): void;
}

/** Where a page that has the front-end extension leaves its one stream: `globalThis[STREAM]`. */
export const STREAM = Symbol.for('infer-workbench.stream');

/** What someone wants to be told of one model. */
export interface IWant {
  readonly model: string;
  readonly window_s: number;
}

export type WatchedFrame = IFigures | IHistory;

export interface IWatch {
  /** Want another model or window from now on; answered by history. */
  update(want: IWant): void;
  dispose(): void;
}

/** One request among the slowest: docs/metrics.md. */
export interface ISlow {
  /** Unix time of its end. */
  readonly time: number;
  readonly version: string;
  /** `ok`, or the code of the error. */
  readonly outcome: string;
  readonly duration_s: number;
  readonly stages_s: Readonly<Record<string, number | null>>;
  readonly rows: number | null;
  readonly batch_size: number | null;
  readonly batch_rows: readonly number[] | null;
  readonly release_reason: string | null;
  readonly request_bytes: number | null;
  readonly response_bytes: number | null;
  readonly request_id: string | null;
  readonly trace_id: string | null;
  readonly id: string | null;
}

/** The page's one socket, shared by all that look: `globalThis[STREAM]`. */
export interface IPageStream {
  /** Of this interface. */
  readonly api: 1;
  /** Hear `history` first and then `figures` until disposed of. Dispose of it while out of sight: it keeps the socket awake. */
  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch;
  /** The slowest requests of a model in a span, the slowest first. */
  slowest(model: string, span: ISpan): Promise<readonly ISlow[]>;
}
