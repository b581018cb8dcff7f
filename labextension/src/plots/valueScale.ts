/** How the values of plots are scaled: up from 0 or logarithmic, each plot for itself or several alike. */

/** How latency is scaled: `auto` is logarithmic where the highest p99 would press p50 onto the axis. */
export type LatencyScale = 'auto' | 'linear' | 'log';

export const LATENCY_SCALES: readonly LatencyScale[] = ['auto', 'linear', 'log'];

/** What a plot has to show: its values above 0, and whether they need a logarithmic axis. */
export interface IExtent {
  /** 0 if there is no value. */
  readonly least: number;
  readonly most: number;
  readonly log: boolean;
}

/** `auto` is logarithmic from this ratio of p99 to p50 on, and stays so down to the second one. */
const APART = 20;
const STILL_APART = 10;

/** Whether `auto` scales latency logarithmically: for the highest p99 in view, and the usual p50. */
export function isFarApart(was: boolean, p99: number, p50: number): boolean {
  return p50 > 0 && p99 > (was ? STILL_APART : APART) * p50;
}

/** The middle one of the values that are known; 0 if there is none. */
export function median(values: ArrayLike<number>): number {
  const known = Float64Array.from(values).filter(value => !Number.isNaN(value));
  known.sort();
  return known[known.length >> 1] ?? 0;
}

/** The powers of ten around some values, with one decade at least. */
export function decades(least: number, most: number): readonly number[] {
  const first = Math.floor(Math.log10(least) + 1e-9);
  const last = Math.max(Math.ceil(Math.log10(most) - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(`1e${first + i}`));
}

/** The extents of the plots of several models, by which all of them are scaled alike. */
export class SharedScales {
  /** Notes what `owner` has to show in a plot, and returns what all of them have. */
  merge(plot: string, owner: unknown, own: IExtent): IExtent {
    const all = this._extents.get(plot) ?? new Map<unknown, IExtent>();
    this._extents.set(plot, all.set(owner, own));
    let merged = own;
    for (const each of all.values()) {
      merged = {
        least: Math.min(merged.least || Infinity, each.least || Infinity),
        most: Math.max(merged.most, each.most),
        log: merged.log || each.log
      };
    }
    return { ...merged, least: Number.isFinite(merged.least) ? merged.least : 0 };
  }

  /** Forgets one that is not drawn any more. */
  remove(owner: unknown): void {
    this._extents.forEach(all => all.delete(owner));
  }

  private readonly _extents = new Map<string, Map<unknown, IExtent>>();
}
