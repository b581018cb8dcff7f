import { expect, test } from 'vitest';
import { Folds } from '../../src/ui/collapseState';
import { rememberFolds } from '../../src/ui/settings';

test('what was folded is folded in the next page', async () => {
  const kept = new Map<string, unknown>();
  const state = {
    save: async (key: string, value: unknown) => void kept.set(key, value),
    fetch: async (key: string) => kept.get(key)
  } as never;
  const before = new Folds();
  await rememberFolds(before, state);
  before.set('models', false);
  before.set('try:digits', true);
  const after = new Folds();
  await rememberFolds(after, state);
  expect(after.get('models')).toBe(false);
  expect(after.get('try:digits')).toBe(true);
  expect(after.get('service')).toBeNull();
});

test('what the user said meanwhile wins over what was kept, and nonsense is passed over', () => {
  const folds = new Folds();
  folds.set('models', true);
  folds.restore({ models: false, service: false, log: 'yes' });
  expect(folds.save()).toEqual({ models: true, service: false });
  folds.restore(null);
  folds.restore('x');
  expect(folds.save()).toEqual({ models: true, service: false });
});

test('what was said longest ago is forgotten first', () => {
  const folds = new Folds();
  for (let i = 0; i < 400; i++) {
    folds.set(`try:${i}`, true);
  }
  expect(folds.get('try:0')).toBeNull();
  expect(folds.get('try:399')).toBe(true);
  expect(Object.keys(folds.save()).length).toBeLessThanOrEqual(300);
});
