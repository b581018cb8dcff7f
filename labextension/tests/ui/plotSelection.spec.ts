import { describe, expect, test } from 'vitest';
import {
  askedIn,
  NO_SELECTION,
  parseSelection,
  modelToPlot,
  PlotSelection,
  serializeSelection
} from '../../src/ui/plotSelection';

const idle = () => 0;

describe('the model that is shown', () => {
  test('is the one that was chosen', () => {
    expect(modelToPlot('iris', 'digits', ['digits', 'iris'], true, idle)).toBe('iris');
  });

  test('is the one asked most where nobody has chosen', () => {
    const asked = (name: string) => (name === 'iris' ? 9 : 1);
    expect(modelToPlot(null, null, ['digits', 'iris'], true, asked)).toBe('iris');
    expect(modelToPlot(null, null, ['digits', 'iris'], true, idle)).toBe('digits');
    expect(modelToPlot(null, null, [], true, idle)).toBeNull();
  });

  test('follows one that is clearly asked more, and the first that is asked at all', () => {
    const counts = { digits: 10, iris: 14, wine: 0 };
    const asked = (name: string) => counts[name as keyof typeof counts];
    const names = Object.keys(counts);
    expect(modelToPlot(null, 'digits', names, true, asked)).toBe('digits');
    expect(modelToPlot(null, 'wine', names, true, asked)).toBe('iris');
    counts.iris = 16;
    expect(modelToPlot(null, 'digits', names, true, asked)).toBe('iris');
    expect(modelToPlot(null, 'digits', names, true, idle)).toBe('digits');
  });

  test('stays while the service comes back with its models one by one', () => {
    expect(modelToPlot(null, 'digits', ['iris'], false, idle)).toBe('digits');
    expect(modelToPlot(null, 'digits', ['iris'], true, idle)).toBe('iris');
  });

  test('is another one where the one chosen in an earlier page is not served any more', () => {
    expect(modelToPlot('gone', null, ['iris'], true, idle)).toBe('iris');
    expect(modelToPlot('gone', 'gone', ['iris'], true, idle)).toBe('gone');
  });
});

test('how much a model is asked is read from its last minute', () => {
  const columns = { time: [1, 2, 3], p50_s: [], p99_s: [], queued: [], errors_per_s: [] };
  expect(askedIn({ ...columns, requests_per_s: [1, null, 4] })).toBe(5);
  expect(askedIn(null)).toBe(0);
});

test('what is written can be read, and anything else is nothing', () => {
  const plotSelection = {
    models: ['digits', 'iris'],
    window_s: 900,
    latency: 'log' as const,
    shared: true
  };
  expect(parseSelection(serializeSelection(plotSelection))).toEqual(plotSelection);
  expect(parseSelection(undefined)).toEqual(NO_SELECTION);
  expect(parseSelection({ models: 'digits', window_s: 7 })).toEqual(NO_SELECTION);
});

test('models are taken in and away, and only changes are told', () => {
  const plotSelection = new PlotSelection();
  const told: (readonly string[])[] = [];
  plotSelection.changed.connect((_, { models }) => told.push(models));
  plotSelection.toggle('digits');
  plotSelection.toggle('iris');
  plotSelection.toggle('digits');
  plotSelection.show('iris');
  expect(told).toEqual([['digits'], ['digits', 'iris'], ['iris']]);
});
