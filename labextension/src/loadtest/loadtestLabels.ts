/** Texts about load tests. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as format from '../ui/format';
import type { Sweep } from './loadtestForm';
import type { IRatio, IRun, IRunning, IRunPoint } from '../service/loadtestWire';

export function sweepLabel(trans: TranslationBundle, setting: Sweep): string {
  switch (setting) {
    case 'batch':
      return trans.__('Largest batch');
    case 'delay':
      return trans.__('Queue delay');
    case 'instances':
      return trans.__('Instances');
    case 'queue':
      return trans.__('Queue length');
  }
}

/** The state of a running test as a word. */
export function runStateLabel(trans: TranslationBundle, running: IRunning): string {
  if (running.stopping) {
    return trans.__('Stopping…');
  }
  switch (running.state) {
    case 'starting':
      return trans.__('Starting…');
    case 'warming up':
      return trans.__('Warming up…');
    case 'running':
      return trans.__('Running');
    default:
      return trans.__('Finishing…');
  }
}

/** The progress in [0, 1]; of an unknown number of tests, that of the current one. */
export function progress({ elapsed_s, total_s, number, count }: IRunning): number {
  const one = total_s > 0 ? Math.min(1, Math.max(0, elapsed_s / total_s)) : 0;
  return count > 0 ? (number - 1 + one) / count : one;
}

/** The current step of several tests; empty for a single one. */
export function stepText(trans: TranslationBundle, { step, number, count }: IRunning): string {
  return count > 0 ? trans.__('%1 of %2: %3', number, count, step) : step;
}

/** Says how many tests a sweep runs. */
export function sweepHint(trans: TranslationBundle, count: number | null): string {
  const back = trans.__('The model has its own settings back afterwards.');
  return count === null
    ? trans.__('One test for each combination. %1', back)
    : `${trans._n('%1 test.', '%1 tests, one for each combination.', count)} ${back}`;
}

/** The summary without the model's name, which is shown next to it. */
export function summaryOf(
  trans: TranslationBundle,
  { model, summary, kind }: { model: string; summary: string; kind?: IRun['kind'] }
): string {
  if (kind === 'search') {
    return trans.__('a search for the highest rate that holds what was asked');
  }
  return summary.startsWith(`${model}: `) ? summary.slice(model.length + 2) : summary;
}

/** Whether a run is a search in which no rate held; it has no figures. */
export function foundNothing({ kind, held, p99_s }: IRun): boolean {
  return kind === 'search' && !held && p99_s === null;
}

/** Whether a test holds, and why not. */
export function holdsText(trans: TranslationBundle, { held, why }: IRunPoint): string {
  if (held) {
    return trans.__('yes');
  }
  return why === '' ? trans.__('no') : trans.__('no: %1', why);
}

/** The figures of a stored run in one line; empty if it has none. */
export function figuresLine(trans: TranslationBundle, run: IRun): string {
  if (foundNothing(run)) {
    return '';
  }
  const said = [
    trans.__('%1/s', format.rate(run.answered_per_s)),
    trans.__('p50 %1', format.duration(run.p50_s)),
    trans.__('p99 %1', format.duration(run.p99_s))
  ];
  if (run.error_share !== null && run.error_share > 0) {
    said.push(trans.__('%1 errors', format.share(run.error_share, 1)));
  }
  // Non-breaking spaces keep a figure and its unit together.
  return said.map(each => each.replaceAll(' ', '\u00a0')).join(' · ');
}

/** The caveat of a run's figures; empty if there is none. */
export function caveat(trans: TranslationBundle, run: IRun, isRunning: boolean): string {
  if (isRunning) {
    return trans.__('running');
  }
  if (run.state === 'running') {
    return trans.__('running elsewhere');
  }
  if (run.state === 'cut short') {
    return trans.__('cut short');
  }
  if (foundNothing(run)) {
    return trans.__('failed: no rate held');
  }
  if (run.limited) {
    return trans.__('generator at its limit');
  }
  return run.held ? '' : trans.__('does not hold');
}

/** A past moment as text: the time, and the day unless it is today. */
export function dateLabel(time: number, now: number): string {
  const then = new Date(time * 1000);
  const short = then.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
  const isToday = then.toDateString() === new Date(now * 1000).toDateString();
  const day = then.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
  return isToday ? short : `${day}, ${short}`;
}

/** Formats a figure of a comparison: seconds, or answers per second. */
export function formatRatio({ name }: IRatio, value: number): string {
  return name === 'requests/s' ? format.rate(value) : format.duration(value);
}
