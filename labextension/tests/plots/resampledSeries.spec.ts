import { describe, expect, test } from 'vitest';
import { ResampledSeries, stack } from '../../src/plots/resampledSeries';
import { Timeline } from '../../src/plots/timeline';
import type { IModelFigures } from '../../src/service/wire';
import { history, range, tick } from './figureFrames';

function taken(timeline: Timeline, window_s = 60, until = timeline.last): ResampledSeries {
  const series = new ResampledSeries();
  series.take(timeline, window_s, until);
  return series;
}

function every(
  seconds: number[],
  differs: (i: number) => Partial<IModelFigures> = () => ({})
): Timeline {
  const timeline = new Timeline('digits');
  seconds.forEach((time, i) => timeline.push(tick(time, differs(i))));
  return timeline;
}

describe('points', () => {
  test('are half a second of a minute, 2 s of 5 minutes, 5 s of 15', () => {
    const timeline = every(range(0.25, 900, 0.25));
    for (const [window_s, points] of [
      [60, 120],
      [300, 150],
      [900, 180]
    ] as const) {
      // One is not complete yet, and one reaches out on the left.
      expect(taken(timeline, window_s).length - points).toBeGreaterThanOrEqual(0);
      expect(taken(timeline, window_s).length - points).toBeLessThanOrEqual(2);
    }
  });

  test('are means of rates, and the highest of p99 and the queue', () => {
    const timeline = every([10, 10.25], i => ({
      requests_per_s: i === 0 ? 4 : 8,
      queued: i === 0 ? 7 : 0,
      p99_s: i === 0 ? 0.5 : 0.25
    }));
    const { columns } = taken(timeline);
    expect([...columns.requests_per_s]).toEqual([6]);
    expect([...columns.queued]).toEqual([7]);
    expect([...columns.p99_s]).toEqual([0.5]);
  });

  test('weigh what a request took by requests', () => {
    const timeline = new Timeline('digits');
    const stages = (compute: number) => ({
      stages_s: { decode: 0, queue: 0, batch: 0, compute, split: 0, encode: 0, send: 0 }
    });
    timeline.push(tick(10, { requests_per_s: 30 }, stages(1)));
    timeline.push(tick(10.25, { requests_per_s: 10 }, stages(5)));
    expect(taken(timeline).columns.compute_s[0]).toBeCloseTo(2);
  });

  test('that are complete stay as they are while the window moves on', () => {
    const timeline = every(range(0.25, 30, 0.25), i => ({ requests_per_s: i }));
    const before = [...taken(timeline).columns.requests_per_s].slice(0, -1);
    timeline.push(tick(30.25, { requests_per_s: 7 }));
    timeline.push(tick(30.5, { requests_per_s: 7 }));
    expect([...taken(timeline).columns.requests_per_s].slice(0, before.length)).toEqual(before);
  });

  test('end where the picture stands still', () => {
    const timeline = every(range(0, 20));
    expect(taken(timeline, 60, 10).time.at(-1)).toBe(10);
  });
});

describe('gaps', () => {
  test('are where ticks are missing', () => {
    const timeline = every([...range(1, 5, 0.25), ...range(9, 10, 0.25)]);
    const { columns, time } = taken(timeline);
    const gap = columns.requests_per_s.findIndex(Number.isNaN);
    expect(time[gap]).toBe(5);
    expect([...columns.requests_per_s].filter(Number.isNaN)).toHaveLength(1);
  });

  test('are not between coarse points of history, nor where a tick was late', () => {
    const timeline = new Timeline('digits');
    timeline.mergeHistory(history(range(0, 100, 5)));
    timeline.push(tick(100.9));
    expect([...taken(timeline, 900).columns.requests_per_s].some(Number.isNaN)).toBe(false);
  });

  test('are at a restart too, which is marked', () => {
    const timeline = every(range(1, 5, 0.25));
    timeline.push(tick(5.25, {}, null, 'b'));
    timeline.push(tick(5.5, {}, null, 'b'));
    const { restarts, columns } = taken(timeline);
    expect(restarts).toEqual([5]);
    expect([...columns.requests_per_s].some(Number.isNaN)).toBe(true);
  });

  test('are stepped over by the keys', () => {
    const timeline = every([...range(1, 5, 0.5), ...range(9, 10, 0.5)]);
    const series = taken(timeline);
    const last = series.length - 1;
    const back = series.step(last, -3);
    expect(series.time[back]).toBe(5);
    expect(series.step(0, -1)).toBe(0);
    expect(series.step(0, series.length)).toBe(last);
  });

  test('are never the nearest', () => {
    const timeline = every([...range(1, 5, 0.5), ...range(9, 10, 0.5)]);
    const series = taken(timeline);
    expect(series.time[series.nearest(6)]).toBe(5);
    expect(series.time[series.nearest(8)]).toBe(9);
    expect(new ResampledSeries().nearest(5)).toBe(-1);
  });
});

describe('layers', () => {
  const layer = (...values: number[]) => Float32Array.from(values);

  test('stand on each other', () => {
    const into = [layer(0, 0), layer(0, 0)];
    stack([layer(1, 2), layer(3, 4)], into);
    expect(into.map(each => [...each])).toEqual([
      [1, 2],
      [4, 6]
    ]);
  });

  test('that are not known have no height, and where none is known there is a gap', () => {
    const into = [layer(0, 0), layer(0, 0), layer(0, 0)];
    stack([layer(NaN, NaN), layer(3, NaN), layer(NaN, NaN)], into);
    expect(into.map(each => [...each])).toEqual([
      [0, NaN],
      [3, NaN],
      [3, NaN]
    ]);
  });
});
