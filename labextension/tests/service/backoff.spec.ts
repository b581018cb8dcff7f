import { expect, test } from 'vitest';
import { backoff } from '../../src/service/backoff';

test('the first attempt comes after half a second', () => {
  expect(backoff(1, 0)).toBe(500);
  expect(backoff(1, 0.999)).toBe(500);
});

test('waits double up to ten seconds', () => {
  const latest = [2, 3, 4, 5, 6, 7, 2000].map(failures => Math.round(backoff(failures, 0.99999)));
  expect(latest).toEqual([1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
});

test('waits are spread over the upper half', () => {
  expect(backoff(5, 0)).toBe(4000);
  expect(backoff(5, 0.5)).toBe(6000);
});
