import { describe, expect, test } from 'vitest';
import { ceiling, divisions, roundUp, timeMarks } from '../../src/plots/scale';

test.each([
  [0, 1],
  [0.00093, 0.001],
  [1.2, 1.5],
  [7, 8],
  [10, 10],
  [101, 150]
])('an axis for %d ends at %d', (value, top) => {
  expect(roundUp(value)).toBeCloseTo(top, 9);
});

describe('an axis', () => {
  test('grows at once', () => {
    expect(ceiling(10, 11, 1)).toBe(15);
  });

  test('does not flicker while its line moves below it', () => {
    expect(ceiling(10, 9, 1)).toBe(10);
    expect(ceiling(10, 5, 1)).toBe(10);
  });

  test('shrinks when more than half of it would be empty', () => {
    expect(ceiling(10, 2, 1)).toBe(3);
  });

  test('has room for what is usual where nothing is', () => {
    expect(ceiling(0, 0, 4)).toBe(4);
  });

  test.each([1, 1.5, 2, 3, 4, 5, 6, 8, 10, 0.002, 4000])('to %d has even divisions', top => {
    const marks = divisions(top, true);
    expect(marks.length).toBeGreaterThanOrEqual(3);
    expect(marks.length).toBeLessThanOrEqual(5);
    expect(marks.at(-1)).toBeCloseTo(top, 9);
    expect(divisions(top, false).at(-1)).toBe(top);
  });
});

describe('times', () => {
  test.each([
    [60, 300, 84],
    [300, 300, 84],
    [900, 300, 64],
    [900, 1200, 64]
  ])('of %d s over %d pixels have room, and are round', (window_s, width, room) => {
    const until = 1_795_000_013.3;
    const marks = timeMarks(until - window_s, until, width, room);
    expect(marks.length).toBeGreaterThan(1);
    const step = (marks[1] as number) - (marks[0] as number);
    expect((step * width) / window_s).toBeGreaterThanOrEqual(room);
    expect((marks[0] as number) % 5).toBe(0);
    expect(marks.every(mark => mark >= until - window_s && mark <= until)).toBe(true);
  });
});
