import { expect, test } from 'vitest';
import { marksOf, sharesByModel } from '../../src/modelList/modelMarks';
import { unfoldedByDefault } from '../../src/modelList/unfolded';
import { ENGLISH } from '../../src/plots/contract';
import type { IModelStatus } from '../../src/service/wire';
import { model, share } from '../fixtures';

function marks(others: Partial<IModelStatus>[], shares: string[] = []) {
  const group = { name: 'digits', current: model({ weight: 0.9 }), others: others.map(model) };
  return marksOf(ENGLISH, group, shares);
}

test('a version that gets a part of the calls is marked with that part', () => {
  const split = { version: '2', routed: false, weight: 0.1 };
  expect(marks([split])).toEqual([
    { kind: 'canary', text: '10 %', hint: '10 % of the calls go to version 2, not to 1' }
  ]);
  expect(marks([split, { ...split, version: '3' }])[0]?.text).toBe('10 % +1');
  expect(marks([{ version: '2', routed: false }])).toEqual([]);
});

test('a shared model is marked, and the mark says with whom', () => {
  expect(marks([], ['team-a', 'team-b'])).toEqual([
    { kind: 'share', text: '', hint: 'Shared: team-a, team-b' }
  ]);
});

test('a share counts for each of its models until it ends', () => {
  const found = sharesByModel([
    share({ label: 'team-a', models: ['digits', 'iris'] }),
    share({ label: '', id: 's2', models: ['digits'], state: 'unclaimed' }),
    share({ label: 'old', models: ['iris'], state: 'revoked' })
  ]);
  expect([...found]).toEqual([
    ['digits', ['team-a', 's2']],
    ['iris', ['team-a']]
  ]);
  expect(sharesByModel(null).size).toBe(0);
});

test('models are unfolded while they are few, and one more folds none of them', () => {
  const four = unfoldedByDefault(new Map(), ['a', 'b', 'c', 'd']);
  expect([...four.values()]).toEqual([true, true, true, true]);
  const five = unfoldedByDefault(four, ['a', 'b', 'c', 'd', 'e']);
  expect(five.get('a')).toBe(true);
  expect(five.get('e')).toBe(false);
  expect(unfoldedByDefault(five, ['e', 'a', 'b', 'c', 'd'])).toBe(five);
  expect([...unfoldedByDefault(new Map(), ['a', 'b', 'c', 'd', 'e']).values()]).not.toContain(true);
});
