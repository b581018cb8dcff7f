import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { busiest, modelNames, idleReason } from '../../src/live/modelChoice';
import { type IPipeHandlers, Piped, type Standing } from '../../src/live/liveSource';
import { ENGLISH, type WatchedFrame } from '../../src/plots/contract';
import { INITIAL } from '../../src/service/state';
import type { IColumns, IHistory } from '../../src/service/wire';
import { model, service } from '../fixtures';

function standing(differs: Partial<Standing> = {}): Standing {
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
    expect(modelNames(standing({ models }))).toEqual(['digits']);
  });
});

describe('Why nothing moves', () => {
  const why = (differs: Partial<Standing>, shown: string | null = 'digits') =>
    idleReason(ENGLISH, standing(differs), shown);

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

describe('A stream of a widget of its own', () => {
  let opened: { handlers: IPipeHandlers; sent: unknown[]; closed: boolean }[];
  let source: Piped;
  let heard: WatchedFrame[];

  beforeEach(() => {
    vi.useFakeTimers();
    opened = [];
    heard = [];
    source = new Piped({
      open: handlers => {
        const pipe = { handlers, sent: [] as unknown[], closed: false };
        opened.push(pipe);
        return {
          send: text => pipe.sent.push(JSON.parse(text)),
          close: () => {
            pipe.closed = true;
          }
        };
      },
      chance: () => 0
    });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  const turn = () => vi.advanceTimersByTimeAsync(0);
  const want = { model: 'digits', window_s: 60 };
  const hear = (frame: WatchedFrame) => heard.push(frame);
  const last = () => opened[opened.length - 1]!;
  const say = (frame: object) => last().handlers.heard(JSON.stringify(frame));

  it('is opened for the first that watches, and closed after the last', async () => {
    expect(opened).toEqual([]);
    const one = source.watch(want, hear);
    const two = source.watch({ ...want, window_s: 300 }, hear);
    await turn();
    expect(opened).toHaveLength(1);
    last().handlers.opened();
    const wanted = { type: 'subscribe', models: '*', window_s: 300, detail: ['digits'] };
    expect(last().sent).toEqual([expect.objectContaining(wanted)]);
    one.dispose();
    await turn();
    expect(last().closed).toBe(false);
    two.dispose();
    await turn();
    expect(last().closed).toBe(true);
    expect(source.standing.link.kind).toBe('idle');
  });

  it('tells history and figures, and how things stand', async () => {
    source.watch(want, hear);
    await turn();
    last().handlers.opened();
    say({ type: 'hello', api: 1, version: '0.1.0', interval_s: 0.25 });
    say({ type: 'service', service: service() });
    say({ type: 'models', models: [model()] });
    say(history({ digits: [1] }));
    say({ type: 'figures', models: {} });
    expect(heard.map(({ type }) => type)).toEqual(['history', 'figures']);
    expect(source.standing.service?.state).toBe('Ready');
    expect(modelNames(source.standing)).toEqual(['digits']);
    expect(source.standing.link.kind).toBe('live');
  });

  it('needs no hello: a kernel that is busy may begin without one', async () => {
    source.watch(want, hear);
    await turn();
    say({ type: 'figures', models: {} });
    expect(heard).toHaveLength(1);
    expect(source.standing.link.kind).toBe('live');
  });

  it('is tried again when it breaks off or says nothing, and asks for everything again', async () => {
    source.watch(want, hear);
    await turn();
    last().handlers.opened();
    say({ type: 'beat' });
    last().handlers.lost();
    expect(source.standing.link.kind).toBe('lost');
    await vi.advanceTimersByTimeAsync(500);
    expect(opened).toHaveLength(2);
    last().handlers.opened();
    expect(last().sent).toHaveLength(1);
    opened[0]!.handlers.heard(JSON.stringify({ type: 'figures', models: {} }));
    expect(heard).toEqual([]);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(opened[1]!.closed).toBe(true);
    expect(source.standing.link.kind).toBe('lost');
  });

  it('is given up where the other end speaks another version', async () => {
    source.watch(want, hear);
    await turn();
    say({ type: 'hello', api: 2, version: '9.0.0', interval_s: 0.25 });
    expect(source.standing.link).toEqual({
      kind: 'missing',
      why: 'incompatible',
      message: '9.0.0'
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(opened).toHaveLength(1);
  });
});
