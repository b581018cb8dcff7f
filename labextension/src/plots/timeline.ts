import { IN_PLOTS } from '../service/figures';
import {
  type Batches,
  type IDetailColumns,
  type IFigures,
  type IHistory,
  type Stage,
  STAGES
} from '../service/wire';

type PlottedFigure = (typeof IN_PLOTS)[number]['key'];

/** The columns that are kept: figures, and the mean seconds per request of each stage. */
export type Column = PlottedFigure | `${Stage}_s`;

export const COLUMNS: readonly Column[] = [
  ...IN_PLOTS.map(({ key }) => key),
  ...STAGES.map(stage => `${stage}_s` as const)
];

/** Release reasons in drawing order; reasons of a newer service come after them. */
export const REASONS: readonly string[] = ['idle', 'full', 'delay', 'shape', 'alone', 'drain'];

/** The batches of one row as triples: index into `Timeline.reasons`, rows of the batch, count. */
export type Cells = Uint32Array;

/** Seconds that are kept: the longest window. */
const KEEP_S = 900;

/** Array length: more than twice the rows kept at 4 ticks a second, so that moving them down is rare. */
const CAPACITY = 8192;

/** Rows stored by column. NaN stands for an unknown value, or for nothing to measure. */
class Rows {
  /** Unix seconds of the row's end. */
  readonly time = new Float64Array(CAPACITY);
  /** Seconds that the row covers. */
  readonly span = new Float32Array(CAPACITY);
  /** The run of the service, counted by the timeline. */
  readonly run = new Uint16Array(CAPACITY);
  readonly columns = Object.fromEntries(
    COLUMNS.map(name => [name, new Float32Array(CAPACITY)])
  ) as Record<Column, Float32Array>;
  readonly cells = new Array<Cells | null>(CAPACITY).fill(null);
  begin = 0;
  end = 0;

  /** Adds an empty row and returns its index. */
  append(): number {
    if (this.end === CAPACITY) {
      this.begin = Math.max(this.begin, CAPACITY / 2);
      this._moveDown();
    }
    this.end += 1;
    return this.end - 1;
  }

  copy(from: Rows, i: number): void {
    const at = this.append();
    this.time[at] = from.time[i] as number;
    this.span[at] = from.span[i] as number;
    this.run[at] = from.run[i] as number;
    for (const name of COLUMNS) {
      this.columns[name][at] = from.columns[name][i] as number;
    }
    this.cells[at] = from.cells[i] ?? null;
  }

  private _moveDown(): void {
    const { begin, end } = this;
    for (const array of [this.time, this.span, this.run, ...Object.values(this.columns)]) {
      array.copyWithin(0, begin, end);
    }
    this.cells.copyWithin(0, begin, end).fill(null, end - begin);
    this.begin = 0;
    this.end = end - begin;
  }
}

/**
 * One model's last 15 minutes: a row per tick, and coarser rows of history where no tick was received.
 *
 * Rows are ordered by time. Their indices run from `begin` up to `end`, and are valid until the next change.
 */
export class Timeline {
  constructor(readonly model: string) {}

  get begin(): number {
    return this._rows.begin;
  }

  get end(): number {
    return this._rows.end;
  }

  get time(): Float64Array {
    return this._rows.time;
  }

  get span(): Float32Array {
    return this._rows.span;
  }

  get run(): Uint16Array {
    return this._rows.run;
  }

  get columns(): Readonly<Record<Column, Float32Array>> {
    return this._rows.columns;
  }

  get cells(): readonly (Cells | null)[] {
    return this._rows.cells;
  }

  /** The names that the cells' reason indices refer to. */
  get reasons(): readonly string[] {
    return this._reasons;
  }

  /** Unix seconds of the newest row; 0 if there is none. */
  get last(): number {
    return this.end > this.begin ? (this.time[this.end - 1] as number) : 0;
  }

  /** The first row that ends after `time`. */
  after(time: number): number {
    let low = this.begin;
    let high = this.end;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.time[middle] as number) > time) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  /** Adds one tick. A tick that is known already, or that lacks the model, changes only the epoch. */
  push({ epoch, time, interval_s, models, detail }: IFigures): void {
    this._enterEpoch(epoch);
    const figures = models[this.model];
    if (figures === undefined) {
      return;
    }
    if (time < this.last - KEEP_S) {
      // The clock was set back, so the rows would stay for too long.
      this._rows.begin = this._rows.end = 0;
    }
    if (time <= this.last) {
      return;
    }
    const more = detail?.[this.model];
    const at = this._rows.append();
    this._rows.time[at] = time;
    this._rows.span[at] = interval_s;
    this._rows.run[at] = this._run;
    const { columns } = this._rows;
    for (const { key } of IN_PLOTS) {
      columns[key][at] = number(figures[key]);
    }
    for (const stage of STAGES) {
      columns[`${stage}_s`][at] = number(more?.stages_s?.[stage]);
    }
    this._rows.cells[at] = this._pack(more?.batches);
    this._dropOld();
  }

  /** Merges history where it is finer than the known rows; rows outside of it stay. */
  mergeHistory({ epoch, models }: IHistory): void {
    this._enterEpoch(epoch);
    const past = models[this.model];
    if (past === undefined || past.time.length === 0) {
      return;
    }
    const old = this._rows;
    const part_s = spacing(past.time);
    const merged = new Rows();
    let i = old.begin;
    past.time.forEach((time, j) => {
      while (i < old.end && (old.time[i] as number) <= time - part_s) {
        merged.copy(old, i++);
      }
      // The known rows that end in this part are kept if they are as fine, all or none.
      const first = i;
      while (i < old.end && (old.time[i] as number) <= time) {
        i += 1;
      }
      if (i > first && (old.span[first] as number) <= part_s) {
        for (let k = first; k < i; k++) {
          merged.copy(old, k);
        }
      } else {
        this._fill(merged, past, j, part_s);
      }
    });
    while (i < old.end) {
      merged.copy(old, i++);
    }
    this._rows = merged;
    this._dropOld();
  }

  private _fill(rows: Rows, past: IDetailColumns, j: number, part_s: number): void {
    const at = rows.append();
    rows.time[at] = past.time[j] as number;
    rows.span[at] = part_s;
    rows.run[at] = this._run;
    for (const name of COLUMNS) {
      rows.columns[name][at] = number(past[name]?.[j]);
    }
    rows.cells[at] = this._pack(past.batches?.[j]);
  }

  private _enterEpoch(epoch: string): void {
    if (epoch !== this._epoch) {
      this._epoch = epoch;
      this._run += 1;
    }
  }

  private _dropOld(): void {
    this._rows.begin = this.after(this.last - KEEP_S);
  }

  private _pack(batches: Batches | null | undefined): Cells | null {
    if (!batches) {
      return null;
    }
    const cells: number[] = [];
    for (const [reason, sizes] of Object.entries(batches)) {
      let index = this._reasons.indexOf(reason);
      if (index < 0) {
        index = this._reasons.push(reason) - 1;
      }
      for (const [size, count] of Object.entries(sizes)) {
        cells.push(index, Number(size), count);
      }
    }
    return cells.length > 0 ? Uint32Array.from(cells) : null;
  }

  private _rows = new Rows();
  private readonly _reasons = [...REASONS];
  private _epoch = '';
  /** The first run is 1. A uint16 is enough for any page. */
  private _run = 0;
}

function number(value: number | null | undefined): number {
  return value ?? NaN;
}

/** The most usual distance between points, which a few missing points do not change. */
function spacing(times: readonly number[]): number {
  const steps = times.slice(1).map((time, i) => time - (times[i] as number));
  return steps.sort((a, b) => a - b)[steps.length >> 1] ?? 1;
}
