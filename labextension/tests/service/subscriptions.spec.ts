import { expect, test, vi } from 'vitest';
import { Subscriptions } from '../../src/service/subscriptions';
import type { ISubscription } from '../../src/service/wire';
import { tick } from '../plots/figureFrames';

const CARDS: ISubscription = { models: '*', window_s: 60, points: 60, detail: [] };

test('nobody who looks closely wants nothing more', () => {
  expect(new Subscriptions(() => undefined).merged(CARDS)).toEqual(CARDS);
});

test('a long window is asked for as coarsely as it is drawn: every model has it', () => {
  const subscriptions = new Subscriptions(() => undefined);
  subscriptions.add({ model: 'digits', window_s: 900 }, () => undefined);
  expect(subscriptions.merged(CARDS)).toMatchObject({ window_s: 900, points: 180 });
});

test('all get the longest window, as finely as any of them draws it', () => {
  const subscriptions = new Subscriptions(() => undefined);
  subscriptions.add({ model: 'digits', window_s: 900 }, () => undefined);
  const iris = subscriptions.add({ model: 'iris', window_s: 60 }, () => undefined);
  expect(subscriptions.merged(CARDS)).toEqual({
    models: '*',
    window_s: 900,
    points: 1000,
    detail: ['digits', 'iris']
  });
  iris.dispose();
  expect(subscriptions.merged(CARDS).detail).toEqual(['digits']);
});

test('two for one model ask once', () => {
  const subscriptions = new Subscriptions(() => undefined);
  subscriptions.add({ model: 'digits', window_s: 60 }, () => undefined);
  subscriptions.add({ model: 'digits', window_s: 300 }, () => undefined);
  expect(subscriptions.merged(CARDS).detail).toEqual(['digits']);
});

test('changes of one moment are told once', async () => {
  const changed = vi.fn();
  const subscriptions = new Subscriptions(changed);
  const watch = subscriptions.add({ model: 'digits', window_s: 60 }, () => undefined);
  watch.update({ model: 'digits', window_s: 300 });
  watch.update({ model: 'iris', window_s: 300 });
  await Promise.resolve();
  expect(changed).toHaveBeenCalledTimes(1);
  watch.dispose();
  watch.dispose();
  await Promise.resolve();
  expect(changed).toHaveBeenCalledTimes(2);
});

test('frames go to those who are there', () => {
  const subscriptions = new Subscriptions(() => undefined);
  const heard: number[] = [];
  const watch = subscriptions.add({ model: 'digits', window_s: 60 }, frame => {
    heard.push(frame.type === 'figures' ? frame.time : 0);
  });
  subscriptions.publish(tick(1));
  watch.dispose();
  subscriptions.publish(tick(2));
  expect(heard).toEqual([1]);
});
