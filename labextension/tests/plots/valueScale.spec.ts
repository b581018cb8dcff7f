import { describe, expect, test } from 'vitest';
import { decades, isFarApart, median, SharedScales } from '../../src/plots/valueScale';

describe('latency', () => {
  test('is logarithmic where p99 is over 20 times p50, and does not flicker at the limit', () => {
    expect(isFarApart(false, 0.021, 0.001)).toBe(true);
    expect(isFarApart(false, 0.02, 0.001)).toBe(false);
    expect(isFarApart(true, 0.011, 0.001)).toBe(true);
    expect(isFarApart(true, 0.01, 0.001)).toBe(false);
    expect(isFarApart(false, 1, 0)).toBe(false);
  });

  test('has a usual p50, whatever its gaps', () => {
    expect(median([NaN, 3, 1, NaN, 2])).toBe(2);
    expect(median([NaN])).toBe(0);
  });
});

test('a logarithmic axis has whole decades, one at least', () => {
  expect(decades(0.0004, 0.03)).toEqual([0.0001, 0.001, 0.01, 0.1]);
  expect(decades(0.001, 0.001)).toEqual([0.001, 0.01]);
  expect(decades(0.001, 0.01)).toEqual([0.001, 0.01]);
});

test('plots on shared scales show what any of them has, until it is gone', () => {
  const scales = new SharedScales();
  const small = { least: 0.001, most: 2, log: false };
  const large = { least: 0.01, most: 9, log: true };
  expect(scales.merge('latency', 'a', small)).toEqual(small);
  expect(scales.merge('latency', 'b', large)).toEqual({ least: 0.001, most: 9, log: true });
  expect(scales.merge('queue', 'b', large)).toEqual(large);
  expect(scales.merge('latency', 'c', { least: 0, most: 0, log: false }).least).toBe(0.001);
  scales.remove('b');
  expect(scales.merge('latency', 'a', small)).toEqual(small);
});
