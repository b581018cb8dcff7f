import { describe, expect, test } from 'vitest';
import { segments, windowOf } from '../../src/modelList/listWindow';

const LINE = 28;
const line = () => LINE;

describe('the rows in the page', () => {
  test('are those in sight with half a screen on each side, in steps of 8', () => {
    expect(windowOf(200, line, 0, 840)).toEqual({ first: 0, last: 48 });
    expect(windowOf(200, line, 2800, 3640)).toEqual({ first: 80, last: 152 });
    expect(windowOf(200, line, 4760, 5600)).toEqual({ first: 152, last: 200 });
  });

  test('are few where the list begins below what is seen, and where it ended above it', () => {
    expect(windowOf(200, line, -2000, -1160)).toEqual({ first: 0, last: 0 });
    expect(windowOf(200, line, 9000, 9840)).toEqual({ first: 200, last: 200 });
  });

  test('always cover what is seen', () => {
    const heightOf = (row: number) => (row % 7 === 3 ? 200 : LINE);
    for (let top = -900; top < 12_000; top += 37) {
      const { first, last } = windowOf(200, heightOf, top, top + 600);
      let y = 0;
      for (let row = 0; row < 200; row += 1) {
        if (y < top + 600 && y + heightOf(row) > top) {
          expect(row >= first && row < last, `row ${row} at ${top}`).toBe(true);
        }
        y += heightOf(row);
      }
      expect(last - first).toBeLessThan(64);
    }
  });
});

describe('the list', () => {
  test('is rows and gaps that count all of it', () => {
    const all = segments(20, { first: 8, last: 10 }, row => row === 2 || row === 19);
    expect(all).toEqual([
      { gap: 2, before: 2 },
      { row: 2 },
      { gap: 5, before: 8 },
      { row: 8 },
      { row: 9 },
      { gap: 9, before: 19 },
      { row: 19 }
    ]);
  });

  test('ends with a gap, or has none at all', () => {
    expect(segments(9, { first: 0, last: 8 }, () => false).at(-1)).toEqual({ gap: 1, before: 9 });
    expect(segments(2, { first: 0, last: 8 }, () => false)).toEqual([{ row: 0 }, { row: 1 }]);
    expect(segments(0, { first: 0, last: 8 }, () => false)).toEqual([]);
  });
});
