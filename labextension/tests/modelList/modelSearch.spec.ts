import { describe, expect, test } from 'vitest';
import {
  filtered,
  foundByTyping,
  type ITyped,
  movedTo,
  NOTHING_TYPED,
  TYPED_MS,
  typedWith
} from '../../src/modelList/modelSearch';

test('a filter keeps what contains every word, in whatever case', () => {
  const names = ['Digits-KNN', 'digits-svm', 'iris'];
  expect(filtered(names, ' DIGITS  knn ')).toEqual(['Digits-KNN']);
  expect(filtered(names, 'i s')).toEqual(names);
  expect(filtered(names, 'nothing')).toEqual([]);
  expect(filtered(names, '  ')).toBe(names);
});

describe('letters typed on the list', () => {
  const type = (keys: readonly (readonly [string, number])[]) =>
    keys.reduce<ITyped>((before, [key, at]) => typedWith(before, key, at) ?? before, NOTHING_TYPED);

  test('belong together for a moment', () => {
    expect(type([['D', 0], ['i', 100]]).text).toBe('di'); // prettier-ignore
    expect(type([['d', 0], ['i', TYPED_MS + 1]]).text).toBe('i'); // prettier-ignore
  });

  test('are no named keys, and no space at the begin, which presses the button', () => {
    expect(typedWith(NOTHING_TYPED, 'Enter', 0)).toBeNull();
    expect(typedWith(NOTHING_TYPED, ' ', 0)).toBeNull();
    expect(typedWith({ text: 'd', at: 0 }, ' ', TYPED_MS + 1)).toBeNull();
  });

  const names = ['ants', 'Bees', 'bears', 'cats'];

  test('find the next that begins so, from the current one around', () => {
    expect(foundByTyping(names, 0, 'be')).toBe('Bees');
    expect(foundByTyping(names, 1, 'be')).toBe('Bees');
    expect(foundByTyping(names, 1, 'bea')).toBe('bears');
    expect(foundByTyping(names, 3, 'a')).toBe('ants');
    expect(foundByTyping(names, 0, 'x')).toBeNull();
    expect(foundByTyping([], -1, 'x')).toBeNull();
  });

  test('walk through all that begin with the same letter', () => {
    expect(foundByTyping(names, 0, 'b')).toBe('Bees');
    expect(foundByTyping(names, 1, 'bb')).toBe('bears');
    expect(foundByTyping(names, 2, 'bbb')).toBe('Bees');
  });
});

test('the keys move over the list and stop at its ends', () => {
  const from5 = (key: string) => movedTo(key, 5, 12, 10);
  expect(['ArrowDown', 'ArrowUp', 'PageDown', 'PageUp', 'Home', 'End'].map(from5)).toEqual([
    6, 4, 11, 0, 0, 11
  ]);
  expect(from5('Tab')).toBeNull();
});
