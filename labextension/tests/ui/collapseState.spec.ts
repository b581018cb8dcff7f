import { expect, test } from 'vitest';
import { CollapseState } from '../../src/ui/collapseState';
import { rememberCollapseState } from '../../src/ui/settings';

test('what was folded is folded in the next page', async () => {
  const kept = new Map<string, unknown>();
  const state = {
    save: async (key: string, value: unknown) => void kept.set(key, value),
    fetch: async (key: string) => kept.get(key)
  } as never;
  const before = new CollapseState();
  await rememberCollapseState(before, state);
  before.set('models', false);
  before.set('try:digits', true);
  const after = new CollapseState();
  await rememberCollapseState(after, state);
  expect(after.get('models')).toBe(false);
  expect(after.get('try:digits')).toBe(true);
  expect(after.get('service')).toBeNull();
});

test('what the user said meanwhile wins over what was kept, and nonsense is passed over', () => {
  const collapseState = new CollapseState();
  collapseState.set('models', true);
  collapseState.restore({ models: false, service: false, log: 'yes' });
  expect(collapseState.save()).toEqual({ models: true, service: false });
  collapseState.restore(null);
  collapseState.restore('x');
  expect(collapseState.save()).toEqual({ models: true, service: false });
});

test('what was said longest ago is forgotten first', () => {
  const collapseState = new CollapseState();
  for (let i = 0; i < 400; i++) {
    collapseState.set(`try:${i}`, true);
  }
  expect(collapseState.get('try:0')).toBeNull();
  expect(collapseState.get('try:399')).toBe(true);
  expect(Object.keys(collapseState.save()).length).toBeLessThanOrEqual(300);
});
