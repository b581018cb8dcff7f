/**
 * Messages about load tests: see docs/jupyter.md.
 *
 * Durations end in `_s` (seconds), times are Unix seconds, sizes are bytes.
 */

/** A load test to start: the options of `model.bench` by name. Times are seconds, or texts with a unit. */
export type ILoadTest = Readonly<Record<string, unknown>>;

/** An option of a load test, as a form shows it. */
export interface IOption {
  readonly name: string;
  readonly type: 'number' | 'whole' | 'duration' | 'pair' | 'times' | 'flag' | 'text';
  /** One; two of a pair, which is sent as "A:B". */
  readonly labels: readonly string[];
  /** What the field shows at first. */
  readonly text: string;
  readonly hint: string;
  /** The range of values as text; empty if there is none. */
  readonly range: string;
  readonly minimum: number;
  /** Whether the minimum itself is allowed. */
  readonly zero: boolean;
}

/** A way in which requests can come. */
export interface IPattern {
  readonly kind: string;
  readonly title: string;
  readonly hint: string;
  readonly fields: readonly IOption[];
  /** Whether a sweep can run it. */
  readonly sweeps: boolean;
}

export interface ILoadForm {
  readonly patterns: readonly IPattern[];
  /** The options of every pattern. */
  readonly options: readonly IOption[];
}

/** A running load test. */
export interface IRunning {
  readonly run: string;
  readonly model: string;
  /** The plan as text. */
  readonly summary: string;
  readonly stopping: boolean;
  readonly state: 'starting' | 'warming up' | 'running' | 'finishing' | 'ended';
  readonly elapsed_s: number;
  readonly total_s: number;
  readonly done: number;
  readonly errors: number;
  readonly rate_per_s: number;
  readonly waiting: number;
  readonly p50_s: number | null;
  readonly p99_s: number | null;
  /** The current step of several tests: "300/s". */
  readonly step: string;
  /** The number of the current test in a sweep, from 1 on, and their count; else 0. */
  readonly number: number;
  readonly count: number;
}

/** A stored load test. */
export interface IRun {
  readonly run: string;
  readonly model: string;
  readonly version: string;
  readonly kind: 'bench' | 'stairs' | 'search' | 'sweep';
  readonly started_at: number;
  readonly state: 'running' | 'done' | 'cut short';
  readonly summary: string;
  readonly answered_per_s: number;
  readonly p50_s: number | null;
  readonly p99_s: number | null;
  readonly error_share: number | null;
  /** Whether all requirements hold. */
  readonly held: boolean;
  /** Whether the load generator was the limit. */
  readonly limited: boolean;
}

export interface IRunList {
  readonly runs: readonly IRun[];
  readonly notes: readonly string[];
}

export interface IRunSecond {
  readonly at_s: number;
  readonly warm_up: boolean;
  readonly due_per_s: number;
  readonly answered_per_s: number;
  readonly errors_per_s: number;
  readonly p50_s: number | null;
  readonly p99_s: number | null;
}

/** One test of several. */
export interface IRunPoint {
  readonly label: string;
  readonly offered_per_s: number | null;
  readonly answered_per_s: number;
  readonly p50_s: number | null;
  readonly p99_s: number | null;
  readonly error_share: number | null;
  readonly held: boolean;
  /** Why it does not hold, in words; empty if it does. */
  readonly why: string;
}

/** The figures of a stored load test. */
export interface IRunFigures extends IRun {
  readonly sentence: string;
  readonly details: readonly string[];
  readonly generator: string;
  readonly offered_per_s: number | null;
  readonly due: number;
  readonly errors: number;
  readonly duration_s: number;
  readonly quantiles: Readonly<
    Record<'p50_s' | 'p90_s' | 'p99_s' | 'p99_9_s' | 'max_s', number | null>
  >;
  readonly seconds: readonly IRunSecond[];
  readonly points: readonly IRunPoint[];
}

export interface IRatio {
  readonly name: string;
  readonly a: number;
  readonly b: number;
  readonly ratio: number | null;
  readonly low: number | null;
  readonly high: number | null;
  /** Whether the difference is significant. */
  readonly shown: boolean;
  readonly better: boolean;
}

/** A comparison of two load tests. */
export interface IComparison {
  readonly sentence: string;
  readonly ratios: readonly IRatio[];
  readonly differences: readonly {
    readonly what: string;
    readonly a: string;
    readonly b: string;
  }[];
  readonly cautions: readonly string[];
}
