/** Path builders for series with NaN as gaps. uPlot's own know only null, which no typed array can hold. */

import type uPlot from 'uplot';

type Values = Float32Array;

const of = (u: uPlot, series: number): Values => u.data[series] as unknown as Values;

/** A line that breaks at gaps; a single point is a dot. With `fill`, the area from it down to 0. */
export const line: uPlot.Series.PathBuilder = (u, series, first, last) => {
  const values = of(u, series);
  const stroke = new Path2D();
  const fill = new Path2D();
  const floor = u.valToPos(0, 'y', true);
  for (const [from, to] of runs(values, first, last)) {
    const left = u.valToPos(u.data[0][from] as number, 'x', true);
    let x = left;
    let y = u.valToPos(values[from] as number, 'y', true);
    stroke.moveTo(x, y);
    fill.moveTo(x, floor);
    fill.lineTo(x, y);
    for (let i = from + 1; i <= to; i++) {
      x = u.valToPos(u.data[0][i] as number, 'x', true);
      y = u.valToPos(values[i] as number, 'y', true);
      stroke.lineTo(x, y);
      fill.lineTo(x, y);
    }
    if (from === to) {
      stroke.lineTo(x + 0.01, y);
    }
    fill.lineTo(x, floor);
    fill.closePath();
  }
  return { stroke, fill };
};

/**
 * Columns as wide as the time they cover, drawn up from the layer below. A mean per request belongs to its point, and a
 * line between two points would suggest values between them.
 *
 * @param below - the series that it stands on; 0 for the axis
 * @param width - the largest width of a column in seconds
 */
export function columns(below: number, width: () => number): uPlot.Series.PathBuilder {
  return (u, series, first, last) => {
    const values = of(u, series);
    const times = u.data[0] as unknown as Float64Array;
    const fill = new Path2D();
    const ground = u.valToPos(0, 'y', true);
    for (let i = first; i <= last; i++) {
      const value = values[i] as number;
      if (!(value >= 0)) {
        continue;
      }
      const time = times[i] as number;
      const before = i > 0 ? (times[i - 1] as number) : -Infinity;
      const left = Math.round(u.valToPos(Math.max(before, time - width()), 'x', true));
      const right = Math.max(Math.round(u.valToPos(time, 'x', true)), left + 1);
      const base = below === 0 ? 0 : (of(u, below)[i] as number);
      const bottom = base > 0 ? u.valToPos(base, 'y', true) : ground;
      const top = u.valToPos(value, 'y', true);
      if (bottom > top) {
        fill.rect(left, top, right - left, bottom - top);
      }
    }
    return { fill, stroke: null };
  };
}

/** The first and last index of each stretch without a gap. */
export function* runs(
  values: Values,
  first: number,
  last: number
): Generator<readonly [from: number, to: number]> {
  let from = -1;
  for (let i = first; i <= last; i++) {
    if (Number.isNaN(values[i])) {
      if (from >= 0) {
        yield [from, i - 1];
      }
      from = -1;
    } else if (from < 0) {
      from = i;
    }
  }
  if (from >= 0) {
    yield [from, last];
  }
}
