import { expect, test } from 'vitest';
import { distribution, edges } from '../../src/plots/distribution';
import { Timeline } from '../../src/plots/timeline';
import type { Batches } from '../../src/service/wire';
import { tick } from './figureFrames';

function of(...rows: Batches[]) {
  const timeline = new Timeline('digits');
  rows.forEach((batches, i) => timeline.push(tick(10 + i, {}, { batches })));
  return distribution(timeline, timeline.begin, timeline.end);
}

test('batches are added up by size and by reason', () => {
  const { bars, reasons, byReason, batches, rows } = of(
    { full: { 4: 2 }, idle: { 1: 5 } },
    { full: { 4: 1 }, delay: { 3: 1 } }
  );
  const at = (reason: string) => reasons.indexOf(reason);
  expect(bars.map(({ from, total }) => [from, total])).toEqual([
    [1, 5],
    [2, 0],
    [3, 1],
    [4, 3]
  ]);
  expect(bars[3]?.counts[at('full')]).toBe(3);
  expect(byReason[at('idle')]).toBe(5);
  expect(batches).toBe(9);
  expect(rows).toBe(2 * 4 + 5 + 4 + 3);
});

test('of nothing there is nothing', () => {
  expect(of({}).bars).toEqual([]);
  expect(of({}).batches).toBe(0);
});

test('large batches share bars, each twice as wide as the one before', () => {
  const { bars } = of({ full: { 1: 1, 2: 1, 3: 1, 17: 1, 64: 1 } });
  expect(bars.map(({ from, to }) => [from, to])).toEqual([
    [1, 1],
    [2, 2],
    [3, 4],
    [5, 8],
    [9, 16],
    [17, 32],
    [33, 64]
  ]);
  expect(bars.map(({ total }) => total)).toEqual([1, 1, 1, 0, 0, 1, 1]);
});

test('small ones have room for a few more', () => {
  expect(edges(1)).toHaveLength(4);
  expect(edges(16)).toHaveLength(16);
});

test('a reason that a newer service names is counted', () => {
  const { reasons, byReason } = of({ moon: { 1: 2 } });
  expect(byReason[reasons.indexOf('moon')]).toBe(2);
});
