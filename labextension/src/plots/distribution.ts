import type { Timeline } from './timeline';

/** The batches of a range of sizes, by release reason. */
export interface IBar {
  /** The range of rows, both ends included. */
  readonly from: number;
  readonly to: number;
  /** Counts in the order of `IDistribution.reasons`. */
  readonly counts: readonly number[];
  readonly total: number;
}

export interface IDistribution {
  readonly bars: readonly IBar[];
  readonly reasons: readonly string[];
  /** Batches by reason. */
  readonly byReason: readonly number[];
  readonly batches: number;
  readonly rows: number;
}

/** Each size up to this one has a bar of its own; beyond, each bar covers twice as many sizes as the one before. */
const SINGLE = 16;

/** The least number of bars, so that a single bar is not as wide as the plot. */
const LEAST = 4;

/** The batch sizes in the rows from `first` up to `end`. */
export function distribution(timeline: Timeline, first: number, end: number): IDistribution {
  const sizes = new Map<number, number[]>();
  const { cells, reasons } = timeline;
  let largest = 0;
  for (let i = first; i < end; i++) {
    const row = cells[i];
    for (let k = 0; row && k < row.length; k += 3) {
      const size = row[k + 1] as number;
      let counts = sizes.get(size);
      if (counts === undefined) {
        counts = new Array<number>(reasons.length).fill(0);
        sizes.set(size, counts);
        largest = Math.max(largest, size);
      }
      counts[row[k] as number] = (counts[row[k] as number] ?? 0) + (row[k + 2] as number);
    }
  }
  const byReason = new Array<number>(reasons.length).fill(0);
  let batches = 0;
  let rows = 0;
  const bars = edges(largest).map(([from, to]) => {
    const counts = new Array<number>(reasons.length).fill(0);
    let total = 0;
    for (const [size, each] of sizes) {
      if (size >= from && size <= to) {
        each.forEach((count, reason) => {
          counts[reason] = (counts[reason] as number) + count;
          byReason[reason] = (byReason[reason] as number) + count;
          total += count;
          rows += count * size;
        });
      }
    }
    batches += total;
    return { from, to, counts, total };
  });
  return { bars, reasons, byReason, batches, rows };
}

/** The size ranges of the bars, up to a largest size. */
export function edges(largest: number): readonly (readonly [from: number, to: number])[] {
  if (largest <= SINGLE) {
    return Array.from(
      { length: largest === 0 ? 0 : Math.max(largest, LEAST) },
      (_, i) => [i + 1, i + 1] as const
    );
  }
  const found: [number, number][] = [[1, 1]];
  for (let to = 2; (found.at(-1)?.[1] ?? 0) < largest; to *= 2) {
    found.push([to / 2 + 1, to]);
  }
  return found;
}
