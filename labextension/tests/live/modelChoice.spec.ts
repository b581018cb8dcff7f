import { describe, expect, it } from 'vitest';
import type { ServiceView } from '../../src/live/liveSource';
import { busiest, idleReason, modelNames } from '../../src/live/modelChoice';
import { ENGLISH } from '../../src/plots/contract';
import { INITIAL } from '../../src/service/state';
import type { IColumns, IHistory } from '../../src/service/wire';
import { model, service } from '../fixtures';

function view(differs: Partial<ServiceView> = {}): ServiceView {
  return { ...INITIAL, link: { kind: 'live' }, service: service(), models: [model()], ...differs };
}

function history(rates: Record<string, (number | null)[]>): IHistory {
  const columns = (requests_per_s: (number | null)[]) =>
    ({ time: requests_per_s.map((_, i) => i), requests_per_s }) as unknown as IColumns;
  const models = Object.entries(rates).map(([name, rate]) => [name, columns(rate)]);
  return { type: 'history', epoch: 'a', models: Object.fromEntries(models) };
}

describe('What is shown', () => {
  it('is the model with the most requests, and of equals the first', () => {
    expect(busiest(history({}))).toBeNull();
    expect(busiest(history({ a: [1, null], b: [2, 3], c: [5] }))).toBe('b');
    expect(busiest(history({ idle: [0], still: [] }))).toBe('idle');
  });

  it('can be chosen among what is there, each once', () => {
    const models = [model(), model({ version: '2' }), model({ name: 'old', state: 'Gone' })];
    expect(modelNames(view({ models }))).toEqual(['digits']);
  });
});

describe('Why nothing moves', () => {
  const why = (differs: Partial<ServiceView>, shown: string | null = 'digits') =>
    idleReason(ENGLISH, view(differs), shown);

  it('is not said while it moves, or is about to', () => {
    expect(why({})).toBe('');
    expect(why({ link: { kind: 'connecting' }, service: null })).toBe('');
    expect(why({}, null)).toBe('');
  });

  it('is a sentence', () => {
    expect(why({ service: service({ state: 'Stopped', reason: 'it was told to stop' }) })).toBe(
      'The service is stopped: it was told to stop.'
    );
    expect(why({ service: service({ state: 'Stopping' }) })).toBe('The service is stopping.');
    expect(why({ models: [] }, null)).toBe(
      'No model is served yet; the figures begin when one is.'
    );
    expect(why({}, 'nobody')).toBe('No model nobody is served; the figures begin when it is.');
    expect(why({ models: [model({ state: 'Failed', reason: 'no memory.' })] })).toBe(
      'digits has failed: no memory.'
    );
    expect(why({ link: { kind: 'lost', retryAt: 1, blocked: false } })).toBe(
      'The connection is lost; it is tried again.'
    );
  });
});
