/**
 * The interface between the plots and a page. JupyterLab's side panel, the dashboard and the output of a notebook
 * cell all use the plots, so they depend on no framework: a node and frames go in, events come out.
 */

import type { IFigures, IHistory } from '../service/wire';
import type { LatencyScale, SharedScales } from './valueScale';

/** The part of JupyterLab's `TranslationBundle` that plots use. */
export interface ITrans {
  __(text: string, ...values: unknown[]): string;
  _n(one: string, many: string, count: number, ...values: unknown[]): string;
}

/** English, for a page without translations. `%1` is the first value; in `_n` it is the count. */
export const ENGLISH: ITrans = {
  __: fill,
  _n: (one, many, count, ...values) => fill(count === 1 ? one : many, count, ...values)
};

function fill(text: string, ...values: unknown[]): string {
  return text.replace(/%(\d)/g, (_, number: string) => String(values[Number(number) - 1] ?? ''));
}

/** A time span in Unix seconds. */
export interface ISpan {
  readonly since: number;
  readonly until: number;
}

/** An event; `connect` returns a function that disconnects. */
export interface IEvent<T> {
  connect(listener: (value: T) => void): () => void;
}

/** The hovered time and the plots that it is in; null if none is hovered. */
export interface ILook {
  readonly by: unknown;
  readonly time: number | null;
}

/** An event that any of its listeners may cause. */
export interface IShared<T> extends IEvent<T> {
  emit(value: T): void;
}

export type Layout = 'compact' | 'large';

export type PlotHeight = number | 'fill';

/** How the values of plots are scaled. */
export interface IScale {
  readonly latency: LatencyScale;
  /** Scales the plots of several models alike; null for none. */
  readonly shared: SharedScales | null;
}

/** The windows that can be selected, in seconds. */
export const WINDOWS = [60, 300, 900] as const;

/** The names of the plots, in the order in which they are drawn. */
export const PLOTS = ['throughput', 'latency', 'stages', 'queue', 'errors', 'batches'] as const;

/** The name of a plot. */
export type PlotName = (typeof PLOTS)[number];

/** Colours that replace those of the page's theme; all are optional. */
export type Colours = Readonly<Record<string, string>>;

export interface ILivePlotsOptions {
  /** The name of the model. */
  readonly model: string;
  /** English by default. */
  readonly trans?: ITrans;
  /** All by default, in this order. */
  readonly plots?: readonly PlotName[] | undefined;
  readonly layout?: Layout;
  readonly window_s?: number;
  readonly colours?: Colours;
  /** Lets the user send a request to the model; offered while there are no requests. */
  readonly onTry?: (() => void) | undefined;
  /** Shows one plot in a place of its own; offered at each plot where given. */
  readonly onOpen?: ((plot: PlotName) => void) | undefined;
  /** The height of a plot in CSS pixels, or `fill` for a single one that is as high as the node. The layout's by default. */
  readonly height?: PlotHeight | undefined;
  /** Latency up from 0, and each plot for itself, by default. */
  readonly scale?: IScale | undefined;
  /** Shared by the plots of several models: a hover in one is shown in all. */
  readonly look?: IShared<ILook> | undefined;
}

/**
 * The live figures of one model.
 *
 * Frames may come at any rate and in any state: they are drawn in one animation frame, and not at all while the node
 * is out of view. History fills what is not known better already; another `epoch` is a restart of the service, which
 * is marked. Frames of other models are ignored.
 */
export interface ILivePlots {
  /** The window that is shown, in seconds. */
  readonly window_s: number;
  readonly paused: boolean;
  setHistory(history: IHistory): void;
  push(figures: IFigures): void;
  /** Shows another window. For a longer one, request its `history` afterwards. */
  setWindow(seconds: number): void;
  /** While paused the plots stand still; frames are still recorded. */
  setPaused(paused: boolean): void;
  setLayout(layout: Layout): void;
  setHeight(height: PlotHeight | undefined): void;
  setScale(scale: IScale): void;
  /** Reads the colours of the page again, since a canvas does not follow CSS. */
  retheme(): void;
  /** Emitted when a time is clicked, or Enter is pressed at it. */
  readonly selected: IEvent<ISpan>;
  /** Removes the mark of the selection. */
  clearSelection(): void;
  dispose(): void;
}

/** The key of `globalThis` under which the front-end extension leaves the page's one stream. */
export const STREAM = Symbol.for('infer-workbench.stream');

/** What a watch asks for: one model over one window. */
export interface IWant {
  readonly model: string;
  readonly window_s: number;
}

export type WatchedFrame = IFigures | IHistory;

export interface IWatch {
  /** Changes the model or the window; history follows. */
  update(want: IWant): void;
  dispose(): void;
}

/** One of the slowest requests: docs/metrics.md. */
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

/** The page's one stream, shared by all plots: `globalThis[STREAM]`. */
export interface IPageStream {
  /** The version of this interface. */
  readonly api: 1;
  /** Calls `onFrame` with `history`, then `figures`. Dispose of it while out of view: it keeps the socket awake. */
  watch(want: IWant, onFrame: (frame: WatchedFrame) => void): IWatch;
  /** The slowest requests of a model in a span, slowest first. */
  slowest(model: string, span: ISpan): Promise<readonly ISlow[]>;
}
