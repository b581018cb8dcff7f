import * as React from 'react';
import { ON_CARD } from '../service/figures';
import { WINDOW_S } from '../service/model';
import * as format from '../ui/format';
import { capitalized } from '../ui/labels';
import { usePanel } from './panelContext';
import { useLive, write } from './primitives';
import { type Draw, Sparkline } from './sparkline';

/** Older errors are not shown. */
export const ERROR_S = 300;

/** The live figures of an unfolded model, and its last error. */
export function Figures({ name }: { name: string }): JSX.Element {
  const { model, trans, sparkline, plotSelection } = usePanel();
  const root = React.useRef<HTMLDivElement>(null);
  const cells = React.useRef<(HTMLElement | null)[]>([]);
  const last = React.useRef<HTMLParagraphElement>(null);
  const top = React.useRef<HTMLSpanElement>(null);
  const picture = React.useRef<Draw | null>(null);
  const draw = React.useCallback(() => {
    const figures = model.figures(name);
    ON_CARD.forEach(({ text, isBad, isShown }, i) => {
      const cell = cells.current[i] ?? null;
      write(cell, figures ? text(figures) : format.UNKNOWN);
      cell?.classList.toggle('iw-mod-bad', figures !== null && (isBad?.(figures) ?? false));
      if (cell?.parentElement && isShown) {
        cell.parentElement.hidden = figures === null || !isShown(figures);
      }
    });
    const error = model.lastError(name);
    const told = error !== null && model.time - error.time < ERROR_S;
    write(
      last.current,
      told ? trans.__('%1: %2', format.clock(error.time), capitalized(error.message)) : ''
    );
    if (last.current && told && last.current.title !== error.message) {
      last.current.title = error.message;
    }
    const most = picture.current?.(model.columns(name), sparkline, model.time, WINDOW_S) ?? 0;
    const peak =
      sparkline === 'p50_s' ? format.duration(most) : trans.__('%1/s', format.rate(most));
    write(top.current, most > 0 ? peak : '');
  }, [model, name, sparkline, trans]);
  useLive(root, draw);
  const label =
    sparkline === 'p50_s'
      ? trans.__('Median latency in the last minute')
      : trans.__('Requests per second in the last minute');
  return (
    <div className="iw-Figures iw-Live" ref={root}>
      <button
        type="button"
        className="iw-Figures-picture"
        title={trans.__('%1; click for more of it', label)}
        aria-label={trans.__('Live plots of %1', name)}
        onClick={() => plotSelection.show(name)}
      >
        <Sparkline label={label} drawRef={picture} />
        <span className="iw-Figures-top" ref={top} />
      </button>
      <dl>
        {ON_CARD.map(({ name: figure, label: figureLabel, hint, isShown }, i) => (
          // Hidden from the start, or a card would grow smaller once it comes into sight and is drawn.
          <div key={figure} title={hint(trans)} hidden={isShown !== undefined}>
            <dt>{figureLabel(trans)}</dt>
            <dd ref={cell => void (cells.current[i] = cell)} data-figure={figure} />
          </div>
        ))}
      </dl>
      <p className="iw-Figures-error" ref={last} data-figure="last_error" />
    </div>
  );
}
