import { IN_PLOTS } from '../service/figures';
import { STAGES } from '../service/wire';
import { type Column, COLUMNS, type Timeline } from './timeline';

/** Seconds that one point of a window covers, as a mean or a peak. */
export function partOf(window_s: number): number {
  return window_s <= 60 ? 0.5 : window_s <= 300 ? 2 : Math.max(window_s / 180, 5);
}

/** A tick that is later than this leaves a gap. */
const LATE_S = 1;

/** More points than any window has, even with a gap before each. */
const CAPACITY = 1024;

const PEAKS: ReadonlySet<Column> = new Set(
  IN_PLOTS.filter(({ plot }) => plot === 'peak').map(({ key }) => key)
);
const BY_REQUESTS: ReadonlySet<Column> = new Set(STAGES.map(stage => `${stage}_s` as const));

/**
 * The visible part of a timeline, resampled to points of equal length that begin at multiples of it, so that a point
 * does not change as it moves left. A time without rows becomes one point of NaN.
 *
 * The next `take` overwrites the arrays.
 */
export class ResampledSeries {
  /** Unix seconds of the edges. */
  since = 0;
  until = 0;
  part_s = 0;
  /** When the last row of each point ended. */
  time = new Float64Array(0);
  columns = Object.fromEntries(COLUMNS.map(name => [name, EMPTY])) as Record<Column, Float32Array>;
  /** Times at which another run of the service began. */
  restarts: readonly number[] = [];

  get length(): number {
    return this.time.length;
  }

  /** @param until - Unix seconds of the right edge */
  take(timeline: Timeline, window_s: number, until: number): void {
    const part_s = partOf(window_s);
    this.since = until - window_s;
    this.until = until;
    this.part_s = part_s;
    const { time, span, run } = timeline;
    const restarts: number[] = [];
    const end = timeline.after(until);
    let n = 0;
    let i = timeline.after(this.since);
    // One more point on the left lets the line begin at the edge.
    while (i > timeline.begin && (time[i - 1] as number) > this.since - part_s) {
      i -= 1;
    }
    while (i < end && n < CAPACITY - 1) {
      const first = i;
      if (first > timeline.begin) {
        const previous = time[first - 1] as number;
        const missing = (time[first] as number) - (span[first] as number) - previous;
        if (run[first] !== run[first - 1]) {
          restarts.push((time[first] as number) - (span[first] as number));
        }
        if (n > 0 && (missing > LATE_S || run[first] !== run[first - 1])) {
          this._break(n, previous);
          n += 1;
        }
      }
      const part = Math.floor((time[first] as number) / part_s);
      do {
        i += 1;
      } while (
        i < end &&
        Math.floor((time[i] as number) / part_s) === part &&
        run[i] === run[first]
      );
      resample(timeline, first, i, this._columns, n);
      this._times[n] = time[i - 1] as number;
      n += 1;
    }
    this.restarts = restarts;
    this.time = this._times.subarray(0, n);
    for (const name of COLUMNS) {
      this.columns[name] = this._columns[name].subarray(0, n);
    }
  }

  /** The point nearest to a time; -1 if there is none. */
  nearest(time: number): number {
    let best = -1;
    for (let i = 0; i < this.length; i++) {
      const isGap = Number.isNaN(this.columns.requests_per_s[i]);
      if (
        !isGap &&
        (this.time[i] as number) > this.since &&
        (best < 0 || Math.abs(this._middle(i) - time) < Math.abs(this._middle(best) - time))
      ) {
        best = i;
      }
    }
    return best;
  }

  /** The point `by` steps away, gaps not counted; it stops at the edge. */
  step(from: number, by: number): number {
    let at = from;
    for (let left = Math.abs(by); left > 0; left -= 1) {
      let next = at + Math.sign(by);
      while (next >= 0 && next < this.length && Number.isNaN(this.columns.requests_per_s[next])) {
        next += Math.sign(by);
      }
      if (next < 0 || next >= this.length || (this.time[next] as number) <= this.since) {
        break;
      }
      at = next;
    }
    return at;
  }

  /** The largest visible value of a column; 0 if there is none. */
  most(name: Column): number {
    let most = 0;
    for (const value of this.columns[name]) {
      if (value > most) {
        most = value;
      }
    }
    return most;
  }

  /** Whether no request ended in the window. */
  get isIdle(): boolean {
    return this.most('requests_per_s') === 0;
  }

  private _middle(i: number): number {
    return (this.time[i] as number) - this.part_s / 2;
  }

  private _break(at: number, previous: number): void {
    this._times[at] = previous;
    for (const name of COLUMNS) {
      this._columns[name][at] = NaN;
    }
  }

  private readonly _times = new Float64Array(CAPACITY);
  private readonly _columns = Object.fromEntries(
    COLUMNS.map(name => [name, new Float32Array(CAPACITY)])
  ) as Record<Column, Float32Array>;
}

const EMPTY = new Float32Array(0);

/**
 * Merges rows `first` up to `end`: rates and p50 to their mean, higher quantiles and the queue to their peak, so that
 * no spike is lost, and the seconds of stages to their mean over requests.
 */
export function resample(
  { span, columns }: Timeline,
  first: number,
  end: number,
  into: Record<Column, Float32Array>,
  at: number
): void {
  for (const name of COLUMNS) {
    const column = columns[name];
    const isMost = PEAKS.has(name);
    const byRequests = BY_REQUESTS.has(name);
    let sum = 0;
    let weights = 0;
    let most = NaN;
    for (let i = first; i < end; i++) {
      const value = column[i] as number;
      if (Number.isNaN(value)) {
        continue;
      }
      if (isMost) {
        most = value > most ? value : Number.isNaN(most) ? value : most;
        continue;
      }
      const seconds = span[i] as number;
      // A value means that something ran, even if all requests failed.
      const weight = byRequests
        ? Math.max(seconds * (columns.requests_per_s[i] as number), 1e-6)
        : seconds;
      sum += value * weight;
      weights += weight;
    }
    into[name][at] = isMost ? most : weights > 0 ? sum / weights : NaN;
  }
}

/** Stacks layers, each on the sum of those before; NaN where all are unknown. */
export function stack(layers: readonly Float32Array[], into: readonly Float32Array[]): void {
  const n = layers[0]?.length ?? 0;
  for (let i = 0; i < n; i++) {
    let sum = NaN;
    layers.forEach((layer, k) => {
      const value = layer[i] as number;
      if (!Number.isNaN(value)) {
        sum = Number.isNaN(sum) ? value : sum + value;
      }
      (into[k] as Float32Array)[i] = sum;
    });
    // Unknown layers below the first known one have no height.
    for (let k = 0; k < layers.length && Number.isNaN((into[k] as Float32Array)[i]); k++) {
      (into[k] as Float32Array)[i] = Number.isNaN(sum) ? NaN : 0;
    }
  }
}
