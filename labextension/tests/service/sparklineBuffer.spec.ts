import { expect, test } from 'vitest';
import { SparklineBuffer } from '../../src/service/sparklineBuffer';
import type { IColumns } from '../../src/service/wire';
import { figures } from '../fixtures';

function past(times: number[], value = 1): IColumns {
  const column = times.map(() => value);
  return {
    time: times,
    requests_per_s: column,
    p50_s: column,
    p99_s: column,
    queued: column,
    errors_per_s: column
  };
}

test('the ticks of one second become one row', () => {
  const columns = new SparklineBuffer(60, 1);
  columns.push(100, figures({ requests_per_s: 4, p99_s: 0.1, p50_s: 0.01, queued: 7 }));
  columns.push(100.25, figures({ requests_per_s: 8, p99_s: 0.9, p50_s: 0.02, queued: 2 }));
  columns.push(100.5, figures({ requests_per_s: 0, p99_s: null, p50_s: null, queued: 0 }));
  const { time, requests_per_s, p50_s, p99_s, queued } = columns.data;
  expect(time).toEqual([100]);
  expect(requests_per_s).toEqual([4]);
  expect(p50_s).toEqual([0.02]);
  expect(p99_s).toEqual([0.9]);
  expect(queued).toEqual([7]);
});

test('the next second begins the next row', () => {
  const columns = new SparklineBuffer(60, 1);
  [100, 100.5, 101, 101.5].forEach(time => columns.push(time, figures()));
  expect(columns.data.time).toEqual([100, 101]);
});

test('ticks follow the history, and those it holds already are passed over', () => {
  const columns = new SparklineBuffer(60, 1);
  columns.reset(past([98, 99, 100]));
  columns.push(99.75, figures({ requests_per_s: 5 }));
  columns.push(100, figures({ requests_per_s: 5 }));
  columns.push(100.25, figures({ requests_per_s: 5 }));
  expect(columns.data.time).toEqual([98, 99, 100, 100.25]);
  expect(columns.data.requests_per_s).toEqual([1, 1, 1, 5]);
});

test('history is copied, so that the frame it came in is not written to', () => {
  const history = past([99, 100]);
  const columns = new SparklineBuffer(60, 1);
  columns.reset(history);
  columns.push(101, figures());
  expect(history.time).toEqual([99, 100]);
  expect(history.p50_s).toHaveLength(2);
});

test('a time without ticks is a gap', () => {
  const columns = new SparklineBuffer(60, 1);
  columns.push(100, figures());
  columns.push(105, figures());
  expect(columns.data.time).toEqual([100, 101, 105]);
  expect(columns.data.requests_per_s).toEqual([10, null, 10]);
});

test('one late tick is none', () => {
  const columns = new SparklineBuffer(60, 1);
  columns.push(100, figures());
  columns.push(102, figures());
  expect(columns.data.time).toEqual([100, 102]);
});

test('what is older than the window goes, and all columns stay of one length', () => {
  const columns = new SparklineBuffer(10, 1);
  for (let time = 0; time < 1000; time += 0.25) {
    columns.push(time, figures());
  }
  const lengths = Object.values(columns.data).map(column => column.length);
  expect(new Set(lengths)).toEqual(new Set([11]));
  expect(columns.data.time[0]).toBe(989);
});

test('history that is longer than the window is cut', () => {
  const columns = new SparklineBuffer(2, 1);
  columns.reset(past([1, 2, 3, 4, 5]));
  expect(columns.data.time).toEqual([3, 4, 5]);
  expect(columns.data.queued).toHaveLength(3);
});

test('a series that an older server does not know is empty', () => {
  const columns = new SparklineBuffer(60, 1);
  const { time, requests_per_s } = past([1, 2]);
  columns.reset({ time, requests_per_s } as IColumns);
  expect(columns.data.errors_per_s).toEqual([null, null]);
});

test('reset without a past forgets', () => {
  const columns = new SparklineBuffer(60, 1);
  columns.push(1, figures());
  columns.reset();
  expect(columns.data.time).toEqual([]);
  columns.push(0.5, figures());
  expect(columns.data.time).toEqual([0.5]);
});

test('a clock that is set back begins the line anew', () => {
  const columns = new SparklineBuffer(60, 1);
  columns.push(5000, figures());
  columns.push(1400, figures());
  columns.push(1401, figures());
  expect(columns.data.time).toEqual([1400, 1401]);
});
