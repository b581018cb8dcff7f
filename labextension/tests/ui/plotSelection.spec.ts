import { describe, expect, test } from 'vitest';
import {
  NO_SELECTION,
  parseSelection,
  modelToPlot,
  PlotSelection,
  serializeSelection
} from '../../src/ui/plotSelection';
import { figures } from '../fixtures';

const idle = () => null;

describe('the model that is shown', () => {
  test('is the one that was chosen', () => {
    expect(modelToPlot('iris', 'digits', ['digits', 'iris'], true, idle)).toBe('iris');
  });

  test('is the one asked most where nobody has chosen', () => {
    const asked = (name: string) => figures({ requests_per_s: name === 'iris' ? 9 : 1 });
    expect(modelToPlot(null, null, ['digits', 'iris'], true, asked)).toBe('iris');
    expect(modelToPlot(null, null, ['digits', 'iris'], true, idle)).toBe('digits');
    expect(modelToPlot(null, null, [], true, idle)).toBeNull();
  });

  test('stays though another one is asked more by now', () => {
    const asked = (name: string) => figures({ requests_per_s: name === 'iris' ? 9 : 1 });
    expect(modelToPlot(null, 'digits', ['digits', 'iris'], true, asked)).toBe('digits');
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

test('what is written can be read, and anything else is nothing', () => {
  const plotSelection = { models: ['digits', 'iris'], window_s: 900 };
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
