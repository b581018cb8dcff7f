import { IN_SPARKLINES, type Merge } from './figures';
import type { IColumns, IModelFigures, Series } from './wire';

type Row = Readonly<Record<Series, number | null>>;

const MERGE: Record<Merge, (old: number, next: number, ticks: number) => number> = {
  mean: (old, next, ticks) => old + (next - old) / ticks,
  last: (_, next) => next,
  peak: (old, next) => Math.max(old, next)
};

/**
 * One model's last `window_s` seconds in rows of `bin_s`: the server's history, then the ticks since.
 *
 * A time without ticks leaves a row of nulls, which is a gap in the line.
 */
export class SparklineBuffer {
  constructor(
    readonly window_s: number,
    readonly bin_s: number
  ) {}

  /** The live columns; read them before the next `push`. */
  get data(): IColumns {
    return this._columns;
  }

  /** Starts over with the server's history. */
  reset(past?: IColumns): void {
    const n = past?.time.length ?? 0;
    this._columns.time = past ? past.time.slice() : [];
    for (const { key } of IN_SPARKLINES) {
      // An older server may not send all columns.
      this._columns[key] = past?.[key]?.slice(0, n) ?? new Array<null>(n).fill(null);
    }
    this._ticks = 0;
    this._trim(this._columns.time[n - 1] ?? 0);
  }

  /**
   * Adds one tick. A tick that is not later than the start of the last row is known already and is ignored. One from
   * before the whole window means that the clock was set back, and the buffer starts over.
   */
  push(time: number, figures: IModelFigures): void {
    let last = this._columns.time.at(-1);
    if (last !== undefined && time < last - this.window_s) {
      this.reset();
      last = undefined;
    }
    if (last !== undefined && time <= last) {
      return;
    }
    if (last !== undefined && this._ticks > 0 && time - last < this.bin_s) {
      this._merge(figures);
      return;
    }
    if (last !== undefined && time - last > 2.5 * this.bin_s) {
      this._append(last + this.bin_s, EMPTY);
    }
    this._append(time, figures);
    this._ticks = 1;
    this._trim(time);
  }

  private _append(time: number, row: Row): void {
    this._columns.time.push(time);
    for (const { key } of IN_SPARKLINES) {
      this._columns[key].push(row[key]);
    }
  }

  private _merge(figures: Row): void {
    this._ticks += 1;
    const at = this._columns.time.length - 1;
    for (const { key, sparkline } of IN_SPARKLINES) {
      const old = this._columns[key][at] ?? null;
      const next = figures[key];
      this._columns[key][at] =
        old === null ? next : next === null ? old : MERGE[sparkline](old, next, this._ticks);
    }
  }

  private _trim(now: number): void {
    const times = this._columns.time;
    let old = 0;
    while (old < times.length && (times[old] as number) < now - this.window_s) {
      old += 1;
    }
    if (old > 0) {
      times.splice(0, old);
      for (const { key } of IN_SPARKLINES) {
        this._columns[key].splice(0, old);
      }
    }
  }

  /** The ticks in the last row; 0 if it came as history. */
  private _ticks = 0;
  private readonly _columns = {
    time: [] as number[],
    ...bySeries((): (number | null)[] => [])
  };
}

const EMPTY: Row = bySeries(() => null);

function bySeries<T>(make: () => T): Record<Series, T> {
  return Object.fromEntries(IN_SPARKLINES.map(({ key }) => [key, make()])) as Record<Series, T>;
}
