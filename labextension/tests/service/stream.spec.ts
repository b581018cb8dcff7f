import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { RequestError } from '../../src/service/requests';
import { overWebSocket, Stream } from '../../src/service/stream';
import type { Frame, IStatus, Order } from '../../src/service/wire';
import { status } from '../fixtures';

const SUBSCRIPTION = { models: '*', window_s: 60, points: 60, detail: [] } as const;

/** The server's end of a socket. */
class Socket {
  readonly orders: Order[] = [];
  closed = false;
  readyState = 1;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;

  send(text: string): void {
    this.orders.push(JSON.parse(text) as Order);
  }

  close(): void {
    this.closed = true;
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  hello(api = 1): void {
    this.say({ type: 'hello', version: '0.1.0', api, interval_s: 0.25 });
  }

  /** The server, or the way to it, goes. */
  drop(): void {
    this.onclose?.();
  }

  get said(): string[] {
    return this.orders.map(({ type }) => type);
  }
}

/** A stream, and the server it talks to. */
function world() {
  const sockets: Socket[] = [];
  const frames: Frame[] = [];
  const server = { probe: async (): Promise<IStatus> => status(), probes: 0 };
  const stream = new Stream({
    probe: () => {
      server.probes += 1;
      return server.probe();
    },
    open: handlers => {
      const socket = new Socket();
      sockets.push(socket);
      return overWebSocket(socket as unknown as WebSocket, handlers);
    },
    subscription: SUBSCRIPTION,
    chance: () => 0
  });
  stream.frame.connect(frame => frames.push(frame));
  const last = () => sockets[sockets.length - 1] as Socket;
  const settle = () => vi.advanceTimersByTimeAsync(0);
  /** Up to the server's hello. */
  const live = async () => {
    stream.awake = true;
    await settle();
    last().hello();
  };
  return { stream, sockets, frames, server, last, settle, live };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe('while someone looks', () => {
  test('it asks for the status, then opens a socket, and subscribes at the hello', async () => {
    const { stream, sockets, frames, last, settle } = world();
    stream.awake = true;
    expect(stream.link.kind).toBe('connecting');
    await settle();
    expect(frames[0]).toEqual({ type: 'service', service: status().service });
    expect(sockets).toHaveLength(1);
    last().hello();
    expect(stream.link.kind).toBe('live');
    expect(last().orders).toEqual([{ type: 'subscribe', ...SUBSCRIPTION }]);
  });

  test('what is said is passed on, and what cannot be read is not', async () => {
    const { frames, last, live } = world();
    await live();
    last().onmessage?.({ data: 'no JSON' });
    last().say({ type: 'models', models: [] });
    expect(frames.map(({ type }) => type)).toEqual(['service', 'hello', 'models']);
  });

  test('a lost socket is tried again, later each time, until it is back', async () => {
    const { stream, sockets, server, last, live } = world();
    await live();
    server.probe = () => Promise.reject(new RequestError('Bad Gateway', 502));
    last().drop();
    expect(stream.link).toEqual({ kind: 'lost', retryAt: Date.now() + 500, blocked: false });
    await vi.advanceTimersByTimeAsync(500);
    expect(stream.link).toEqual({ kind: 'lost', retryAt: Date.now() + 500, blocked: false });
    await vi.advanceTimersByTimeAsync(500);
    expect(stream.link).toEqual({ kind: 'lost', retryAt: Date.now() + 1000, blocked: false });
    server.probe = async () => status();
    await vi.advanceTimersByTimeAsync(1000);
    last().hello();
    expect(stream.link.kind).toBe('live');
    expect(sockets).toHaveLength(2);
    expect(last().said).toEqual(['subscribe']);
  });

  test('after a good time the first wait is short again', async () => {
    const { stream, last, live } = world();
    await live();
    for (const lived of [0, 0, 10_000]) {
      await vi.advanceTimersByTimeAsync(lived);
      last().drop();
      const { retryAt } = stream.link as { retryAt: number };
      if (lived > 0) {
        expect(retryAt - Date.now()).toBe(500);
      }
      await vi.advanceTimersByTimeAsync(retryAt - Date.now());
      last().hello();
    }
  });

  test('a socket that never opens, though requests are answered, is told apart', async () => {
    const { stream, last, settle } = world();
    stream.awake = true;
    await settle();
    for (let i = 0; i < 3; i += 1) {
      last().drop();
      await vi.advanceTimersByTimeAsync(10_000);
    }
    last().drop();
    expect(stream.link).toMatchObject({ kind: 'lost', blocked: true });
  });

  test('a socket that opens and says nothing is given up', async () => {
    const { stream, sockets, settle } = world();
    stream.awake = true;
    await settle();
    stream.awake = false;
    stream.awake = true;
    await vi.advanceTimersByTimeAsync(15_000);
    expect(stream.link.kind).toBe('lost');
    expect(sockets[0]?.closed).toBe(true);
  });

  test('silence is a lost socket, and a beat is none', async () => {
    const { stream, sockets, last, live } = world();
    await live();
    for (let i = 0; i < 10; i += 1) {
      await vi.advanceTimersByTimeAsync(5_000);
      last().say({ type: 'beat' });
    }
    expect(stream.link.kind).toBe('live');
    await vi.advanceTimersByTimeAsync(15_000);
    expect(stream.link.kind).toBe('lost');
    expect(sockets[0]?.closed).toBe(true);
  });
});

describe('where waiting does not help, it does not try again', () => {
  test.each([
    [404, 'absent'],
    [403, 'forbidden'],
    [401, 'forbidden'],
    [-1, 'foreign']
  ])('status %s: %s', async (code, why) => {
    const { stream, server, settle } = world();
    server.probe = () => Promise.reject(new RequestError('No.', code));
    stream.awake = true;
    await settle();
    expect(stream.link).toEqual({ kind: 'missing', why, message: 'No.' });
    await vi.advanceTimersByTimeAsync(600_000);
    stream.awake = false;
    stream.awake = true;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.probes).toBe(1);
    server.probe = async () => status();
    stream.retry();
    await settle();
    expect(server.probes).toBe(2);
  });

  test('another version of the contract, in the status', async () => {
    const { stream, server, sockets, settle } = world();
    server.probe = async () => status({ api: 2, version: '3.0.0' });
    stream.awake = true;
    await settle();
    expect(stream.link).toEqual({ kind: 'missing', why: 'incompatible', message: '3.0.0' });
    expect(sockets).toHaveLength(0);
  });

  test('another version of the contract, in the hello', async () => {
    const { stream, last, settle } = world();
    stream.awake = true;
    await settle();
    last().hello(2);
    expect(stream.link.kind).toBe('missing');
    expect(last().closed).toBe(true);
    expect(last().orders).toEqual([]);
  });
});

describe('while nobody looks', () => {
  test('nothing is opened before', async () => {
    const { server } = world();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.probes).toBe(0);
  });

  test('an open socket is paused, and resumed', async () => {
    const { stream, last, live } = world();
    await live();
    stream.awake = false;
    await vi.advanceTimersByTimeAsync(600_000);
    stream.awake = true;
    expect(last().said).toEqual(['subscribe', 'pause', 'resume']);
    expect(stream.link.kind).toBe('live');
  });

  test('a lost socket is not tried again until someone does', async () => {
    const { stream, server, last, settle, live } = world();
    await live();
    stream.awake = false;
    last().drop();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.probes).toBe(1);
    expect(stream.link).toMatchObject({ kind: 'lost', retryAt: null });
    stream.awake = true;
    await settle();
    expect(server.probes).toBe(2);
  });

  test('one who leaves while it waits stops the attempts, and one who comes is served at once', async () => {
    const { stream, server, last, settle, live } = world();
    await live();
    last().drop();
    stream.awake = false;
    await vi.advanceTimersByTimeAsync(600_000);
    expect(server.probes).toBe(1);
    stream.awake = true;
    await settle();
    last().hello();
    expect(stream.link.kind).toBe('live');
  });

  test('one who leaves while it connects gets a paused socket', async () => {
    const { stream, last, settle } = world();
    stream.awake = true;
    stream.awake = false;
    await settle();
    last().hello();
    expect(last().said).toEqual(['subscribe', 'pause']);
  });

  test('one who comes and goes while it connects opens one socket', async () => {
    const { stream, sockets, last, settle } = world();
    stream.awake = true;
    stream.awake = false;
    stream.awake = true;
    await settle();
    last().hello();
    expect(sockets).toHaveLength(1);
    expect(last().said).toEqual(['subscribe']);
  });
});

test('disposed of, it is silent', async () => {
  const { stream, server, last, frames, live } = world();
  await live();
  const heard = frames.length;
  const socket = last();
  stream.dispose();
  socket.say({ type: 'models', models: [] });
  socket.drop();
  stream.retry();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(socket.closed).toBe(true);
  expect(frames).toHaveLength(heard);
  expect(server.probes).toBe(1);
});

test('a socket that is closing is told nothing, and the next one what is wanted by then', async () => {
  const { stream, sockets, last, live } = world();
  await live();
  const before = last();
  before.readyState = 2;
  stream.subscribe({ ...SUBSCRIPTION, window_s: 300 });
  expect(before.said).toEqual(['subscribe']);
  before.drop();
  await vi.advanceTimersByTimeAsync(60_000);
  last().hello();
  expect(sockets.length).toBeGreaterThan(1);
  expect(last().orders[0]).toMatchObject({ type: 'subscribe', window_s: 300 });
});
