/** Titles, lines and texts of the plots. */

import { STAGES } from '../service/wire';
import * as format from '../ui/format';
import type { ITrans, PlotName } from './contract';
import type { ResampledSeries } from './resampledSeries';
import type { Ink } from './palette';
import type { Column } from './timeline';

/** One line, or one stacked layer, of a plot. */
export interface ILine {
  readonly column: Column;
  readonly ink: Ink;
  readonly label: string;
}

/** What one plot over time shows. */
export interface IPlot {
  readonly name: Exclude<PlotName, 'batches'>;
  readonly title: string;
  /** The tooltip of the title. */
  readonly hint: string;
  /** From back to front, or from the bottom up. */
  readonly lines: readonly ILine[];
  /** Written in the caption, but not drawn. */
  readonly told?: readonly Omit<ILine, 'ink'>[];
  readonly stacked: boolean;
  /** The least end of the axis. */
  readonly least: number;
  readonly unit: (value: number) => string;
}

export function plotOf(trans: ITrans, name: IPlot['name']): IPlot {
  const perSecond = (value: number) => trans.__('%1/s', format.rate(value));
  switch (name) {
    case 'throughput':
      return {
        name,
        title: trans.__('Throughput'),
        hint: trans.__('Requests that ended, a second'),
        lines: [{ column: 'requests_per_s', ink: 'throughput', label: trans.__('requests') }],
        told: [{ column: 'rows_per_s', label: trans.__('rows') }],
        stacked: false,
        least: 1,
        unit: perSecond
      };
    case 'latency':
      return {
        name,
        title: trans.__('Latency'),
        hint: trans.__(
          'How long requests took: p99 is what 99 of 100 stayed below, over 2 seconds'
        ),
        lines: [
          { column: 'p99_s', ink: 'p99', label: 'p99' },
          { column: 'p95_s', ink: 'p95', label: 'p95' },
          { column: 'p50_s', ink: 'p50', label: 'p50' }
        ],
        stacked: false,
        least: 1e-4,
        unit: format.duration
      };
    case 'stages':
      return {
        name,
        title: trans.__('Where the time goes'),
        hint: trans.__(
          'Of one request, on average: reading it, waiting, joining its batch, the model, splitting, writing the answer'
        ),
        lines: STAGES.map(stage => ({ column: `${stage}_s` as const, ink: stage, label: stage })),
        stacked: true,
        least: 1e-4,
        unit: format.duration
      };
    case 'queue':
      return {
        name,
        title: trans.__('Queue'),
        hint: trans.__('Requests that wait for a runner'),
        lines: [{ column: 'queued', ink: 'queued', label: trans.__('waiting') }],
        stacked: false,
        least: 4,
        unit: format.rate
      };
    case 'errors':
      return {
        name,
        title: trans.__('Errors'),
        hint: trans.__('Requests that were refused, came too late or failed, a second'),
        lines: [{ column: 'errors_per_s', ink: 'errors', label: trans.__('errors') }],
        stacked: false,
        least: 1,
        unit: perSecond
      };
  }
}

/** The title of a plot. */
export function plotTitle(trans: ITrans, name: PlotName): string {
  return name === 'batches' ? trans.__('Batch sizes') : plotOf(trans, name).title;
}

/** "last minute", as in "No requests in the last minute". */
export function windowText(trans: ITrans, window_s: number): string {
  const minutes = Math.round(window_s / 60);
  return minutes === 1 ? trans.__('last minute') : trans.__('last %1 minutes', minutes);
}

/** The sentence in place of all plots of a model that nobody asked; empty if there is something to see. */
export function idleText(
  trans: ITrans,
  model: string,
  series: ResampledSeries,
  window_s: number
): string {
  const isIdle =
    series.length > 0 &&
    series.isIdle &&
    series.most('queued') === 0 &&
    series.most('errors_per_s') === 0;
  return isIdle
    ? trans.__(
        'No requests in the %1. Try it, or run `%infer predict %2`',
        windowText(trans, window_s),
        model
      )
    : '';
}

/** The text in place of an empty plot; empty if there is something to see. */
export function emptyText(trans: ITrans, name: PlotName, series: ResampledSeries): string {
  if (series.length === 0) {
    return name === 'throughput' ? trans.__('Waiting for figures…') : '';
  }
  switch (name) {
    case 'throughput':
      return series.isIdle ? trans.__('No requests ended') : '';
    case 'latency':
      return series.most('p99_s') === 0 && series.most('p50_s') === 0
        ? trans.__('Nothing was run')
        : '';
    case 'stages':
      return series.most('compute_s') > 0
        ? ''
        : series.isIdle || series.most('p50_s') === 0
          ? trans.__('Nothing was run')
          : trans.__(
              'The server extension does not tell: install the same version as this page has'
            );
    case 'queue':
      return series.most('queued') === 0 ? trans.__('Nothing waited') : '';
    case 'errors':
      return series.most('errors_per_s') === 0 ? trans.__('No errors') : '';
    case 'batches':
      return '';
  }
}

/** Describes a plot for screen readers: current and largest values. */
export function describePlot(
  trans: ITrans,
  plot: IPlot,
  model: string,
  series: ResampledSeries,
  window_s: number
): string {
  const said = plot.lines.map(({ column, label }) => {
    const last = series.columns[column].at(-1) ?? NaN;
    return trans.__(
      '%1: %2 now, %3 at most',
      label,
      Number.isNaN(last) ? trans.__('nothing') : plot.unit(last),
      plot.unit(series.most(column))
    );
  });
  return trans.__(
    '%1 of %2 in the %3. %4',
    plot.title,
    model,
    windowText(trans, window_s),
    said.join('; ')
  );
}

/** The release reason of a batch as a word. */
export function reasonLabel(trans: ITrans, reason: string): string {
  switch (reason) {
    case 'idle':
      return trans.__('idle');
    case 'full':
      return trans.__('full');
    case 'delay':
      return trans.__('delay');
    case 'shape':
      return trans.__('shape');
    case 'alone':
      return trans.__('alone');
    case 'drain':
      return trans.__('drain');
    default:
      return reason;
  }
}

/** The release reason of a batch as a clause. */
export function reasonText(trans: ITrans, reason: string): string {
  switch (reason) {
    case 'idle':
      return trans.__('a runner was free, so nothing waited');
    case 'full':
      return trans.__('it was full');
    case 'delay':
      return trans.__('the longest delay was over');
    case 'shape':
      return trans.__('what came next did not fit its shape');
    case 'alone':
      return trans.__('this model is run one request at a time');
    case 'drain':
      return trans.__('the model was being unloaded');
    default:
      return reason;
  }
}
