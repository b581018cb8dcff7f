import { expect, test } from 'vitest';
import { sparkPath } from '../../src/ui/sparkPath';

const FRAME = { now: 100, window_s: 60, width: 120, height: 24 };

test('a line from the oldest to now, its top at the largest value', () => {
  const { line, area, top } = sparkPath([40, 70, 100], [0, 10, 5], FRAME);
  expect(line).toBe('M0 23L60 1L120 12');
  expect(area).toBe('M0 24L0 23L60 1L120 12L120 24Z');
  expect(top).toBe(10);
});

test('a null breaks the line', () => {
  const { line } = sparkPath([70, 80, 85, 90, 100], [1, 1, null, 1, 1], FRAME);
  expect(line).toBe('M60 1L80 1M100 1L120 1');
});

test('a value alone is a dot', () => {
  expect(sparkPath([100], [1], FRAME).line).toBe('M120 1h0.01');
});

test('all zero lies at the bottom', () => {
  const { line, top } = sparkPath([70, 100], [0, 0], FRAME);
  expect(line).toBe('M60 23L120 23');
  expect(top).toBe(0);
});

test('nothing known draws nothing', () => {
  expect(sparkPath([], [], FRAME)).toEqual({ line: '', area: '', top: 0 });
  expect(sparkPath([1, 2], [null, null], FRAME).line).toBe('');
});
