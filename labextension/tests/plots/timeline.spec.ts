import { describe, expect, test } from 'vitest';
import { Timeline } from '../../src/plots/timeline';
import { history, range, tick } from './figureFrames';

function times(timeline: Timeline): number[] {
  return [...timeline.time.slice(timeline.begin, timeline.end)];
}

function filled(...frames: ReturnType<typeof tick>[]): Timeline {
  const timeline = new Timeline('digits');
  frames.forEach(frame => timeline.push(frame));
  return timeline;
}

describe('ticks', () => {
  test('are a row each, with what a request took by stage where that is told', () => {
    const stages_s = {
      decode: 0.05,
      queue: 0.1,
      batch: null,
      compute: 0.2,
      split: 0.3,
      encode: 0.3,
      send: 0.1
    };
    const timeline = filled(tick(10, { requests_per_s: 5, p50_s: null }, { stages_s }));
    const { columns, begin } = timeline;
    expect(columns.requests_per_s[begin]).toBe(5);
    expect(columns.p50_s[begin]).toBeNaN();
    expect(columns.queue_s[begin]).toBeCloseTo(0.1);
    expect(columns.batch_s[begin]).toBeNaN();
  });

  test('of other models are none of ours', () => {
    const timeline = new Timeline('iris');
    timeline.push(tick(10));
    expect(times(timeline)).toEqual([]);
  });

  test('that are known already are passed over', () => {
    expect(times(filled(tick(10), tick(10.25), tick(10), tick(10.5)))).toEqual([10, 10.25, 10.5]);
  });

  test('after a clock that was set back begin anew', () => {
    expect(times(filled(tick(5000), tick(10)))).toEqual([10]);
  });

  test('older than a quarter of an hour are forgotten', () => {
    const timeline = filled(...range(0, 1000, 10).map(time => tick(time)));
    expect(times(timeline)[0]).toBe(110);
  });

  test('for hours leave the newest 15 minutes in order', () => {
    const timeline = new Timeline('digits');
    for (let i = 0; i < 20_000; i++) {
      timeline.push(tick(i / 4, { queued: i }));
    }
    const seen = times(timeline);
    expect(seen).toHaveLength(3600);
    expect(seen.at(-1)).toBe(19_999 / 4);
    expect(seen.every((time, i) => i === 0 || time > (seen[i - 1] as number))).toBe(true);
    expect(timeline.columns.queued[timeline.end - 1]).toBe(19_999);
  });

  test('of another epoch are another run', () => {
    const timeline = filled(tick(10), tick(11, {}, null, 'b'));
    expect([...timeline.run.slice(timeline.begin, timeline.end)]).toEqual([1, 2]);
  });

  test('keep batches by reason and size, also of a reason that is not known here', () => {
    const timeline = filled(tick(10, {}, { batches: { full: { 8: 3 }, moon: { 1: 2 } } }));
    const moon = timeline.reasons.indexOf('moon');
    expect([...(timeline.cells[timeline.begin] ?? [])]).toEqual([1, 8, 3, moon, 1, 2]);
  });
});

describe('history', () => {
  test('comes before the ticks that follow it', () => {
    const timeline = new Timeline('digits');
    timeline.mergeHistory(history(range(0, 10)));
    timeline.push(tick(10));
    timeline.push(tick(10.25));
    expect(times(timeline)).toEqual([...range(0, 10), 10.25]);
  });

  test('fills what was missed, and leaves finer ticks alone', () => {
    const timeline = filled(...range(5, 6, 0.25).map(time => tick(time)));
    timeline.mergeHistory(history(range(3, 8)));
    expect(times(timeline)).toEqual([3, 4, 5, 5.25, 5.5, 5.75, 6, 7, 8]);
  });

  test('that is finer takes the place of what was coarser', () => {
    const timeline = new Timeline('digits');
    timeline.mergeHistory(history(range(0, 30, 10)));
    timeline.mergeHistory(history(range(15, 30)));
    expect(times(timeline)).toEqual([0, 10, ...range(15, 30)]);
  });

  test('that is coarser changes nothing that is there', () => {
    const timeline = new Timeline('digits');
    timeline.mergeHistory(history(range(20, 30)));
    timeline.mergeHistory(history(range(0, 30, 10)));
    expect(times(timeline)).toEqual([0, 10, ...range(20, 30)]);
  });

  test('of the next run goes after what was seen of the last one', () => {
    const timeline = filled(tick(10), tick(10.25));
    timeline.mergeHistory(history(range(20, 22), {}, 'b'));
    expect(times(timeline)).toEqual([10, 10.25, 20, 21, 22]);
    expect([...timeline.run.slice(timeline.begin, timeline.end)]).toEqual([1, 1, 2, 2, 2]);
  });

  test('of an older server has no stages, and that is no error', () => {
    const timeline = new Timeline('digits');
    timeline.mergeHistory(history([1, 2]));
    expect(timeline.columns.compute_s[timeline.begin]).toBeNaN();
    expect(timeline.columns.p95_s[timeline.begin]).toBeNaN();
  });
});
