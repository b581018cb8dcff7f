import { ServerConnection } from '@jupyterlab/services';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import { describe, expect, test, vi } from 'vitest';
import type { IVisibility } from '../../src/service/visibility';
import { ServiceModel } from '../../src/service/model';
import type { IFigures, IHistory, IModelFigures } from '../../src/service/wire';
import { figures, model, service, status } from '../fixtures';

class Visibility implements IVisibility {
  visible = false;
  isDisposed = false;
  readonly changed = new Signal<this, boolean>(this);
  readonly online = new Signal<this, void>(this);

  addViewer(): IDisposable {
    this.visible = true;
    this.changed.emit(true);
    return new DisposableDelegate(() => {
      this.visible = false;
      this.changed.emit(false);
    });
  }

  dispose(): void {
    this.isDisposed = true;
  }
}

/** A model, and the server that it asks: `answers` by "METHOD path". */
function world(answers: Record<string, () => Response> = {}) {
  const asked: { route: string; body: unknown }[] = [];
  const sockets: { url: string; onmessage?: (event: { data: string }) => void }[] = [];
  class Socket {
    onmessage?: (event: { data: string }) => void;
    constructor(readonly url: string) {
      sockets.push(this);
    }
    send(): void {}
    close(): void {}
  }
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://here/user/alice/',
    wsUrl: 'ws://here/user/alice/',
    token: 'secret',
    appendToken: false,
    WebSocket: Socket as unknown as typeof WebSocket,
    fetch: async (input, init) => {
      const request = new Request(input as Request, init);
      const path = new URL(request.url).pathname.replace('/user/alice/infer-workbench/', '');
      const route = `${request.method} ${path}`;
      const text = await request.text();
      asked.push({ route, body: text ? (JSON.parse(text) as unknown) : null });
      return answers[route]?.() ?? json(status());
    }
  });
  const visibility = new Visibility();
  const it = new ServiceModel(settings, visibility);
  const say = (frame: object) =>
    sockets[sockets.length - 1]?.onmessage?.({ data: JSON.stringify(frame) });
  /** Up to the server's hello. */
  const live = async () => {
    const look = it.addViewer();
    await vi.waitUntil(() => sockets.length > 0);
    say({ type: 'hello', version: '0.1.0', api: 1, interval_s: 0.25 });
    return look;
  };
  return { it, asked, sockets, visibility, say, live };
}

function json(body: object, code = 200): Response {
  return new Response(JSON.stringify(body), { status: code });
}

function tick(time: number, models: Record<string, IModelFigures>, epoch = 'a'): IFigures {
  return {
    type: 'figures',
    epoch,
    sequence: 1,
    time,
    interval_s: 0.25,
    process: { cpu: 0.5, resident_bytes: 1e8 },
    models
  };
}

function history(epoch: string): IHistory {
  const column = [1, 2];
  return {
    type: 'history',
    epoch,
    models: {
      digits: {
        time: [98, 99],
        requests_per_s: column,
        p50_s: column,
        p99_s: column,
        queued: column,
        errors_per_s: column
      }
    }
  };
}

describe('connecting', () => {
  test('waits until someone looks, and goes below the base URL without the token', async () => {
    const { it, asked, sockets, live } = world();
    expect(asked).toEqual([]);
    await live();
    expect(asked[0]?.route).toBe('GET api/status');
    expect(sockets[0]?.url).toBe('ws://here/user/alice/infer-workbench/stream');
    expect(it.state.link.kind).toBe('live');
    expect(it.state.service?.state).toBe('Ready');
    expect(it.state.serverVersion).toBe('0.1.0');
  });
});

describe('figures', () => {
  test('continue the history', async () => {
    const { it, say, live } = world();
    await live();
    say(history('a'));
    say(tick(100, { digits: figures() }));
    expect(it.columns('digits')?.time).toEqual([98, 99, 100]);
    expect(it.figures('digits')?.requests_per_s).toBe(10);
    expect(it.process?.cpu).toBe(0.5);
    expect(it.time).toBe(100);
  });

  test('of another run of the service begin anew', async () => {
    const { it, say, live } = world();
    await live();
    say(history('a'));
    say(tick(100, { digits: figures() }, 'b'));
    expect(it.columns('digits')?.time).toEqual([100]);
  });

  test('are not made coarser by the history of a longer time', async () => {
    const { it, say, live } = world();
    await live();
    say(history('a'));
    say(tick(100, { digits: figures() }));
    const column = [1, 2];
    const past = history('a').models['digits'];
    say({ ...history('a'), models: { digits: { ...past, time: [95, 100], queued: column } } });
    expect(it.columns('digits')?.time).toEqual([98, 99, 100]);
  });

  test('of a model that is gone are dropped', async () => {
    const { it, say, live } = world();
    await live();
    say(tick(100, { digits: figures(), iris: figures() }));
    say(tick(100.25, { iris: figures() }));
    expect(it.columns('digits')).toBeNull();
    expect(it.figures('digits')).toBeNull();
    expect(it.columns('iris')).not.toBeNull();
  });

  test('end with the service, and its lines stay until another runs', async () => {
    const { it, say, live } = world();
    await live();
    say(tick(100, { digits: figures() }));
    let emitted = 0;
    it.figuresChanged.connect(() => {
      emitted += 1;
    });
    say({ type: 'service', service: service({ state: 'Restarting' }) });
    expect(emitted).toBe(1);
    expect(it.process).toBeNull();
    expect(it.figures('digits')).toBeNull();
    expect(it.columns('digits')?.time).toEqual([100]);
  });

  test('bring the latest error, also one from before the page was opened', async () => {
    const { it, say, live } = world();
    await live();
    const before = { time: 90, code: 'invalid', message: 'no such input' };
    const past = history('a');
    say({ ...past, models: { digits: { ...past.models.digits, last_error: before } } });
    expect(it.lastError('digits')).toEqual(before);
    const next = { time: 100, code: 'rejected', message: 'the queue is full' };
    say(tick(100, { digits: figures({ last_error: next }) }));
    say(tick(100.25, { digits: figures() }));
    expect(it.lastError('digits')).toEqual(next);
    say(tick(101, { digits: figures() }, 'b'));
    expect(it.lastError('digits')).toBeNull();
  });

  test('that do not come are missed while someone looks and the service runs', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { it, say, live } = world();
      const look = await live();
      say(tick(100, { digits: figures() }));
      vi.advanceTimersByTime(2900);
      expect(it.state.late).toBe(false);
      vi.advanceTimersByTime(200);
      expect(it.state.late).toBe(true);
      say(tick(100.25, { digits: figures() }));
      expect(it.state.late).toBe(false);
      say({ type: 'service', service: service({ state: 'Restarting' }) });
      vi.advanceTimersByTime(4000);
      expect(it.state.late).toBe(false);
      say({ type: 'service', service: service() });
      look.dispose();
      vi.advanceTimersByTime(4000);
      expect(it.state.late).toBe(false);
    } finally {
      vi.useRealTimers();
    }
  });

  test('do not change the state, so that nothing but figures is drawn', async () => {
    const { it, say, live } = world();
    await live();
    const { state } = it;
    say(tick(100, { digits: figures() }));
    say({ type: 'beat' });
    expect(it.state).toBe(state);
  });
});

describe('acts', () => {
  test('stop takes the state from the answer', async () => {
    const stopped = status({ service: service({ state: 'Stopped' }) });
    const { it, asked } = world({ 'POST api/stop': () => json(stopped) });
    const stopping = it.stop();
    expect(it.state.busy.get('')).toBe('stop');
    await stopping;
    expect(asked).toEqual([{ route: 'POST api/stop', body: {} }]);
    expect(it.state.service?.state).toBe('Stopped');
    expect(it.state.busy.size).toBe(0);
  });

  test('one that fails says why until dismissed', async () => {
    const { it } = world({
      'POST api/restart': () => json({ message: 'It is draining.', reason: 'draining' }, 503)
    });
    await expect(it.restart()).rejects.toThrow('It is draining.');
    expect(it.state.troubles.get('')).toBe('It is draining.');
    it.dismiss();
    expect(it.state.troubles.size).toBe(0);
  });

  test('unload is about one model', async () => {
    const { it, asked } = world({ 'POST api/models/net.v2/unload': () => json({}) });
    await it.unload('net.v2');
    expect(asked[0]?.route).toBe('POST api/models/net.v2/unload');
  });

  test('load sends the path and what was asked for', async () => {
    const loaded = { model: model(), unchanged: false, previous: null, seconds: 1 };
    const { it, asked } = world({ 'POST api/models/digits/load': () => json(loaded) });
    const loading = it.load({ name: 'digits', path: 'models/digits.onnx' });
    expect(it.state.attempts).toHaveLength(1);
    expect(await loading).toEqual(loaded);
    expect(asked[0]?.body).toEqual({ path: 'models/digits.onnx', config: {}, force: false });
    expect(it.state.attempts).toEqual([]);
  });

  test.each([
    ['signature_changed', true],
    ['conflict', false]
  ])('a load refused as %s can be forced: %s', async (reason, forceable) => {
    const message = 'No: force.';
    const { it } = world({
      'POST api/models/digits/load': () => json({ message, reason }, 409)
    });
    await expect(it.load({ name: 'digits', path: 'x.onnx' })).rejects.toThrow(message);
    expect(it.state.attempts[0]).toMatchObject({ trouble: message, forceable });
  });

  test('dismissing a refusal also removes what the service keeps of it', async () => {
    const message = 'it is empty';
    const { it, asked, say, live } = world({
      'POST api/models/digits/load': () => json({ message }, 400),
      'POST api/models/digits/unload': () => json({})
    });
    await live();
    await it.load({ name: 'digits', path: 'x.onnx' }).catch(() => undefined);
    say({ type: 'models', models: [model({ state: 'Failed', routed: false, reason: message })] });
    it.dismiss('digits');
    await vi.waitUntil(() => it.state.attempts.length === 0);
    expect(it.state.models).toEqual([]);
    expect(asked[asked.length - 1]?.route).toBe('POST api/models/digits/unload');
  });

  test('dismissing a refusal leaves alone what is served under its name', async () => {
    const { it, asked, say, live } = world({
      'POST api/models/digits/load': () => json({ message: 'No.' }, 400)
    });
    await live();
    say({ type: 'models', models: [model()] });
    await it.load({ name: 'digits', path: 'x.onnx' }).catch(() => undefined);
    it.dismiss('digits');
    expect(it.state.attempts).toEqual([]);
    expect(asked[asked.length - 1]?.route).toBe('POST api/models/digits/load');
  });

  test('what the repository has is loaded by its name alone', async () => {
    const { it, asked } = world({
      'POST api/repository/digits/load': () => json({ model: model(), unchanged: false })
    });
    await it.load({ name: 'digits', path: '', config: { max_batch_size: 4 } });
    expect(asked).toEqual([
      { route: 'POST api/repository/digits/load', body: { max_batch_size: 4 } }
    ]);
    expect(it.state.toReveal).toBe('digits');
  });

  test('settings and trials are about one model, and what fails is left to who asked', async () => {
    const { it, asked } = world({
      'POST api/models/digits/set': () => json({ message: 'out of range' }, 400),
      'POST api/models/digits/try': () => json({ version: '1' })
    });
    const before = it.state;
    await expect(it.set('digits', { max_batch_size: 0 })).rejects.toThrow('out of range');
    const trial = { inputs: null, rows: 2, seed: 7 };
    expect(await it.tryOut('digits', trial)).toEqual({ version: '1' });
    expect(asked.map(({ body }) => body)).toEqual([{ max_batch_size: 0 }, trial]);
    expect(it.state).toBe(before);
  });

  test('logs are lines', async () => {
    const { it } = world({ 'GET api/logs': () => json({ lines: ['a', 'b'] }) });
    expect(await it.logs(2)).toEqual(['a', 'b']);
  });
});
