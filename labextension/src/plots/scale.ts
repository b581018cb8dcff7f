/** The ends and marks of axes. Pure. */

/** Ends of axes up to a power of ten, each with the step between divisions in a large plot. */
const TOPS = [
  [1, 0.2],
  [1.5, 0.5],
  [2, 0.5],
  [3, 1],
  [4, 1],
  [5, 1],
  [6, 2],
  [8, 2],
  [10, 2]
] as const;

/** The smallest round number that is at least `value`. */
export function roundUp(value: number): number {
  if (!(value > 0)) {
    return 1;
  }
  const power = 10 ** Math.floor(Math.log10(value) + 1e-9);
  const found = TOPS.find(([top]) => top * power >= value * (1 - 1e-9));
  return (found?.[0] ?? 10) * power;
}

/** The new end of an axis. It grows at once, and shrinks only if more than half would be empty. */
export function ceiling(old: number, most: number, least: number): number {
  const needed = Math.max(most * 1.08, least);
  return needed > old || needed < old * 0.45 ? roundUp(needed) : old;
}

/** The divisions of an axis that ends at `top`, without 0. */
export function divisions(top: number, fine: boolean): readonly number[] {
  if (!fine) {
    return [top / 2, top];
  }
  const power = 10 ** Math.floor(Math.log10(top) + 1e-9);
  const mantissa = top / power;
  const [, step] = TOPS.find(([each]) => Math.abs(each - mantissa) < 1e-6) ?? [1, top / power / 4];
  const count = Math.round(mantissa / step);
  return Array.from({ length: count }, (_, i) => (i + 1) * step * power);
}

const STEPS_S = [5, 10, 15, 20, 30, 60, 120, 180, 300, 600];

/** The times to mark along an axis: round in local time, at least `room` pixels apart. */
export function timeMarks(
  since: number,
  until: number,
  width: number,
  room: number
): readonly number[] {
  const least = ((until - since) * room) / Math.max(width, 1);
  const step = STEPS_S.find(each => each >= least) ?? 1800;
  const offset = new Date(until * 1000).getTimezoneOffset() * 60;
  const marks: number[] = [];
  for (let mark = Math.ceil((since - offset) / step) * step + offset; mark <= until; mark += step) {
    marks.push(mark);
  }
  return marks;
}
