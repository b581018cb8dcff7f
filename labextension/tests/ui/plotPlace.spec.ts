import { expect, test } from 'vitest';
import { parsePlot, placeOf, plotHeight } from '../../src/ui/plotPlace';

test('the first plot is docked beside what is current', () => {
  expect(placeOf(null, 'notebook')).toEqual({ mode: 'split-right', ref: 'notebook' });
  expect(placeOf(null, null)).toEqual({ mode: 'split-right', ref: null });
});

test('another plot goes below the last one, and behind it where that is low', () => {
  expect(placeOf({ id: 'p', height: 900 }, 'notebook')).toEqual({ mode: 'split-bottom', ref: 'p' });
  expect(placeOf({ id: 'p', height: 300 }, 'notebook')).toEqual({ mode: 'tab-after', ref: 'p' });
});

test('only names of plots are plots', () => {
  expect(parsePlot('latency')).toBe('latency');
  expect(parsePlot('constructor')).toBeNull();
  expect(parsePlot(undefined)).toBeNull();
});

test('plots are lower in a short room, and one row of them fits', () => {
  expect(plotHeight(900)).toBeUndefined();
  expect(plotHeight(240)).toBe(128);
  expect(plotHeight(100)).toBe(64);
});
