import * as React from 'react';
import { sparkPath } from '../ui/sparkPath';
import type { IColumns, Series } from '../service/wire';

const WIDTH = 120;
const HEIGHT = 24;

/** Draws into a sparkline without React, and returns the largest value drawn. */
export type Draw = (
  columns: IColumns | null,
  series: Series,
  now: number,
  window_s: number
) => number;

interface IProps {
  readonly label: string;
  /** Receives the function that draws. */
  readonly drawRef: React.MutableRefObject<Draw | null>;
}

/** A small plot of the last minute; the figures next to it say the same in words. */
export function Sparkline({ label, drawRef }: IProps): JSX.Element {
  const line = React.useRef<SVGPathElement>(null);
  const area = React.useRef<SVGPathElement>(null);
  drawRef.current = (columns, series, now, window_s) => {
    const frame = { now, window_s, width: WIDTH, height: HEIGHT };
    const drawn = columns
      ? sparkPath(columns.time, columns[series], frame)
      : { line: '', area: '', top: 0 };
    // A model without calls needs no line of its own: the axis below stands for zero, and costs nothing.
    line.current?.setAttribute('d', drawn.top > 0 ? drawn.line : '');
    area.current?.setAttribute('d', drawn.top > 0 ? drawn.area : '');
    return drawn.top;
  };
  return (
    <svg
      className="iw-Spark"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
    >
      <path className="iw-Spark-area" ref={area} />
      <path className="iw-Spark-line" ref={line} />
    </svg>
  );
}
