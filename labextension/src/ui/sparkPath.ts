/** The SVG path of a sparkline. Pure. */

export interface ISparkPath {
  /** Path data of the line and of the area below it; empty if there is nothing to draw. */
  readonly line: string;
  readonly area: string;
  /** The largest value drawn, at the top. */
  readonly top: number;
}

export interface ISparkBox {
  /** Unix seconds at the right edge. */
  readonly now: number;
  readonly window_s: number;
  readonly width: number;
  readonly height: number;
}

/** A line scaled from 0 at the bottom to its largest value at the top, with gaps for null. */
export function sparkPath(
  time: readonly number[],
  values: readonly (number | null)[],
  { now, window_s, width, height }: ISparkBox
): ISparkPath {
  const top = values.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  const scale = top > 0 ? (height - 2) / top : 0;
  let line = '';
  let area = '';
  let run: string[] = [];
  let begin = '';
  let end = '';
  const close = () => {
    if (run.length > 0) {
      // A round line cap draws a single point as a dot.
      const path = run.length > 1 ? run.join('L') : `${run[0]}h0.01`;
      line += `M${path}`;
      area += `M${begin} ${height}L${run.join('L')}L${end} ${height}Z`;
    }
    run = [];
  };
  time.forEach((second, i) => {
    const value = values[i] ?? null;
    if (value === null) {
      close();
      return;
    }
    end = round(width * (1 - (now - second) / window_s));
    begin = run.length === 0 ? end : begin;
    run.push(`${end} ${round(height - 1 - value * scale)}`);
  });
  close();
  return { line, area, top };
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}
