import { expect, test } from 'vitest';
import { ON_CARD } from '../../src/service/figures';
import { figures } from '../fixtures';

const cached = ON_CARD.find(({ name }) => name === 'cache_ratio');

test.each([
  [undefined, false, '–'],
  [null, true, '–'],
  [0, true, '0 %'],
  [0.784, true, '78 %']
])('of a cache with a ratio of %s is shown: %s, %s', (cache_ratio, isShown, text) => {
  const some = figures(cache_ratio === undefined ? {} : { cache_ratio });
  expect(cached?.isShown?.(some)).toBe(isShown);
  expect(cached?.text(some)).toBe(text);
});
