import { describe, expect, test } from 'vitest';
import { NOTHING, read, shown, Watched, written } from '../../src/ui/plotSelection';
import { figures } from '../fixtures';

const idle = () => null;

describe('the model that is shown', () => {
  test('is the one that was chosen', () => {
    expect(shown('iris', 'digits', ['digits', 'iris'], true, idle)).toBe('iris');
  });

  test('is the one asked most where nobody has chosen', () => {
    const asked = (name: string) => figures({ requests_per_s: name === 'iris' ? 9 : 1 });
    expect(shown(null, null, ['digits', 'iris'], true, asked)).toBe('iris');
    expect(shown(null, null, ['digits', 'iris'], true, idle)).toBe('digits');
    expect(shown(null, null, [], true, idle)).toBeNull();
  });

  test('stays though another one is asked more by now', () => {
    const asked = (name: string) => figures({ requests_per_s: name === 'iris' ? 9 : 1 });
    expect(shown(null, 'digits', ['digits', 'iris'], true, asked)).toBe('digits');
  });

  test('stays while the service comes back with its models one by one', () => {
    expect(shown(null, 'digits', ['iris'], false, idle)).toBe('digits');
    expect(shown(null, 'digits', ['iris'], true, idle)).toBe('iris');
  });

  test('is another one where the one chosen in an earlier page is not served any more', () => {
    expect(shown('gone', null, ['iris'], true, idle)).toBe('iris');
    expect(shown('gone', 'gone', ['iris'], true, idle)).toBe('gone');
  });
});

test('what is written can be read, and anything else is nothing', () => {
  const watched = { models: ['digits', 'iris'], window_s: 900 };
  expect(read(written(watched))).toEqual(watched);
  expect(read(undefined)).toEqual(NOTHING);
  expect(read({ models: 'digits', window_s: 7 })).toEqual(NOTHING);
});

test('models are taken in and away, and only changes are told', () => {
  const watched = new Watched();
  const told: (readonly string[])[] = [];
  watched.changed.connect((_, { models }) => told.push(models));
  watched.toggle('digits');
  watched.toggle('iris');
  watched.toggle('digits');
  watched.show('iris');
  expect(told).toEqual([['digits'], ['digits', 'iris'], ['iris']]);
});
