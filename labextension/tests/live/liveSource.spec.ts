import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OwnSource } from '../../src/live/liveSource';
import { modelNames } from '../../src/live/modelChoice';
import type { WatchedFrame } from '../../src/plots/contract';
import type { IConnectionHandlers } from '../../src/service/stream';
import { model, service } from '../fixtures';

describe('A stream of a widget of its own', () => {
  let opened: { handlers: IConnectionHandlers; sent: unknown[]; closed: boolean }[];
  let source: OwnSource;
  let heard: WatchedFrame[];

  beforeEach(() => {
    vi.useFakeTimers();
    opened = [];
    heard = [];
    source = new OwnSource({
      open: handlers => {
        const connection = { handlers, sent: [] as unknown[], closed: false };
        opened.push(connection);
        return {
          send: text => connection.sent.push(JSON.parse(text)),
          close: () => {
            connection.closed = true;
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
  const say = (frame: object) => last().handlers.onText(JSON.stringify(frame));

  it('is opened for the first that watches, and closed after the last', async () => {
    expect(opened).toEqual([]);
    const one = source.watch(want, hear);
    const two = source.watch({ ...want, window_s: 300 }, hear);
    await turn();
    expect(opened).toHaveLength(1);
    last().handlers.onOpen();
    const wanted = { type: 'subscribe', models: '*', window_s: 300, detail: ['digits'] };
    expect(last().sent).toEqual([expect.objectContaining(wanted)]);
    one.dispose();
    await turn();
    expect(last().closed).toBe(false);
    two.dispose();
    await turn();
    expect(last().closed).toBe(true);
    expect(source.view.link.kind).toBe('idle');
  });

  it('tells history and figures, and how things stand', async () => {
    source.watch(want, hear);
    await turn();
    last().handlers.onOpen();
    say({ type: 'hello', api: 1, version: '0.1.0', interval_s: 0.25 });
    say({ type: 'service', service: service() });
    say({ type: 'models', models: [model()] });
    say({ type: 'history', epoch: 'a', models: { digits: { time: [0], requests_per_s: [1] } } });
    say({ type: 'figures', models: {} });
    expect(heard.map(({ type }) => type)).toEqual(['history', 'figures']);
    expect(source.view.service?.state).toBe('Ready');
    expect(modelNames(source.view)).toEqual(['digits']);
    expect(source.view.link.kind).toBe('live');
  });

  it('needs no hello: a kernel that is busy may begin without one', async () => {
    source.watch(want, hear);
    await turn();
    say({ type: 'figures', models: {} });
    expect(heard).toHaveLength(1);
    expect(source.view.link.kind).toBe('live');
  });

  it('is tried again when it breaks off or says nothing, and asks for everything again', async () => {
    source.watch(want, hear);
    await turn();
    last().handlers.onOpen();
    say({ type: 'beat' });
    last().handlers.onLost();
    expect(source.view.link.kind).toBe('lost');
    await vi.advanceTimersByTimeAsync(500);
    expect(opened).toHaveLength(2);
    last().handlers.onOpen();
    expect(last().sent).toHaveLength(1);
    opened[0]!.handlers.onText(JSON.stringify({ type: 'figures', models: {} }));
    expect(heard).toEqual([]);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(opened[1]!.closed).toBe(true);
    expect(source.view.link.kind).toBe('lost');
  });

  it('is given up where the other end speaks another version', async () => {
    source.watch(want, hear);
    await turn();
    say({ type: 'hello', api: 2, version: '9.0.0', interval_s: 0.25 });
    expect(source.view.link).toEqual({
      kind: 'missing',
      why: 'incompatible',
      message: '9.0.0'
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(opened).toHaveLength(1);
  });
});
