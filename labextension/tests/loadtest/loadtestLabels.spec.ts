import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import {
  formatRatio,
  figuresLine,
  holdsText,
  dateLabel,
  progress,
  caveat,
  runStateLabel,
  stepText,
  summaryOf,
  sweepHint
} from '../../src/loadtest/loadtestLabels';
import type { IRun } from '../../src/service/loadtestWire';
import { run, running } from '../fixtures';

const trans = nullTranslator.load('');

test('a run is one line, with errors only where there were some', () => {
  const line = (each: IRun) => figuresLine(trans, each).replaceAll('\u00a0', ' ');
  expect(line(run())).toBe('100/s · p50 1.2 ms · p99 4.5 ms');
  expect(line(run({ error_share: 0.021 }))).toBe('100/s · p50 1.2 ms · p99 4.5 ms · 2.1 % errors');
  expect(line(run({ answered_per_s: 0, p50_s: null, p99_s: null }))).toBe('0/s · p50 – · p99 –');
});

test('where a run stands is said only where it is not as it should be', () => {
  expect(caveat(trans, run(), false)).toBe('');
  expect(caveat(trans, run({ state: 'running' }), true)).toBe('running');
  expect(caveat(trans, run({ state: 'running' }), false)).toBe('running elsewhere');
  expect(caveat(trans, run({ state: 'cut short', held: false }), false)).toBe('cut short');
  expect(caveat(trans, run({ limited: true }), false)).toBe('generator at its limit');
  expect(caveat(trans, run({ held: false }), false)).toBe('does not hold');
});

test('a search in which no rate held has failed, and has no figures', () => {
  const failed = run({ kind: 'search', held: false, answered_per_s: 0, p50_s: null, p99_s: null });
  expect(caveat(trans, failed, false)).toBe('failed: no rate held');
  expect(figuresLine(trans, failed)).toBe('');
  const missed = run({ kind: 'search', held: false });
  expect(caveat(trans, missed, false)).toBe('does not hold');
});

test('each test says why it does not hold', () => {
  const point = { label: '200/s', offered_per_s: 200, answered_per_s: 180 };
  const figures = { p50_s: 0.01, p99_s: 0.03, error_share: 0 };
  const said = (held: boolean, why: string) =>
    holdsText(trans, { ...point, ...figures, held, why });
  expect(said(true, '')).toBe('yes');
  expect(said(false, 'p99 30ms, in second 3 of 5')).toBe('no: p99 30ms, in second 3 of 5');
  expect(said(false, '')).toBe('no');
});

test('the model stands beside the summary, not in it', () => {
  expect(summaryOf(trans, run())).toBe('100 requests/s for 10 s');
  expect(summaryOf(trans, run({ model: 'other' }))).toBe('digits: 100 requests/s for 10 s');
  expect(summaryOf(trans, run({ kind: 'search' }))).toContain('highest rate');
});

test('how far a test is lies between nothing and all', () => {
  expect(progress(running({ elapsed_s: 0, total_s: 0 }))).toBe(0);
  expect(progress(running({ elapsed_s: 5.5 }))).toBe(0.5);
  expect(progress(running({ elapsed_s: 12 }))).toBe(1);
});

test('a sweep tells which setting it is at, of how many, and how far all of it is', () => {
  const sweep = running({ step: 'batch=8', number: 2, count: 4, elapsed_s: 5.5 });
  expect(stepText(trans, sweep)).toBe('2 of 4: batch=8');
  expect(progress(sweep)).toBe(0.375);
  expect(stepText(trans, running({ step: '300/s' }))).toBe('300/s');
  expect(stepText(trans, running())).toBe('');
});

test('how many tests a sweep is stands where it is known', () => {
  expect(sweepHint(trans, 6)).toMatch(/^6 tests, one for each combination\. The model has its own/);
  expect(sweepHint(trans, 1)).toMatch(/^1 test\. The model/);
  expect(sweepHint(trans, null)).toMatch(/^One test for each combination\. The model/);
});

test('a stop is told at once, whatever the generator still says', () => {
  expect(runStateLabel(trans, running())).toBe('Running');
  expect(runStateLabel(trans, running({ state: 'warming up' }))).toBe('Warming up…');
  expect(runStateLabel(trans, running({ stopping: true }))).toBe('Stopping…');
});

test('the day is told of what was not today', () => {
  const then = new Date(2026, 2, 4, 9, 5).getTime() / 1000;
  expect(dateLabel(then, then + 60)).toBe('09:05');
  expect(dateLabel(then, then + 86_400)).toBe('4 Mar, 09:05');
});

test('a comparison has each figure in its own unit', () => {
  const ratio = { name: 'p99', a: 0, b: 0, ratio: 1, low: null, high: null };
  expect(formatRatio({ ...ratio, shown: false, better: false }, 0.0123)).toBe('12.3 ms');
  expect(formatRatio({ ...ratio, name: 'requests/s', shown: false, better: false }, 1234)).toBe(
    '1,234'
  );
});
