import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RenderLoop } from '../../src/ui/renderLoop';
import type { IServiceModel } from '../../src/tokens';

let frames: ((now: number) => void)[] = [];

beforeEach(() => {
  frames = [];
  vi.stubGlobal('requestAnimationFrame', (run: (now: number) => void) => frames.push(run));
  vi.stubGlobal('cancelAnimationFrame', () => undefined);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A loop on a model that ticks by hand; `paint` is the browser's next frame. */
function world() {
  const model = { process: {} as object | null };
  const figuresChanged = new Signal<object, void>(model);
  const loop = new RenderLoop(Object.assign(model, { figuresChanged }) as unknown as IServiceModel);
  const paint = (now: number) => frames.splice(0).forEach(run => run(now));
  return { model, loop, tick: () => figuresChanged.emit(), paint };
}

test('what is added is drawn at once, and in the frame after a tick', () => {
  const { loop, tick, paint } = world();
  const draw = vi.fn();
  loop.add(draw);
  expect(draw).toHaveBeenCalledTimes(1);
  tick();
  expect(draw).toHaveBeenCalledTimes(1);
  paint(1000);
  expect(draw).toHaveBeenCalledTimes(2);
});

test('ticks that come before the frame are drawn once', () => {
  const { loop, tick, paint } = world();
  const draw = vi.fn();
  loop.add(draw);
  tick();
  tick();
  paint(1000);
  expect(draw).toHaveBeenCalledTimes(2);
});

test('where nothing is in sight no frame is asked for', () => {
  const { loop, tick } = world();
  loop.add(() => undefined).dispose();
  tick();
  expect(frames).toHaveLength(0);
});

test('no more is drawn than the settings say', () => {
  const { loop, tick, paint } = world();
  loop.perSecond = 1;
  const draw = vi.fn();
  loop.add(draw);
  for (let now = 1000; now < 4000; now += 250) {
    tick();
    paint(now);
  }
  expect(draw).toHaveBeenCalledTimes(1 + 3);
});

test('what is not known any more is wiped at once', () => {
  const { model, loop, tick, paint } = world();
  loop.perSecond = 1;
  const draw = vi.fn();
  loop.add(draw);
  tick();
  paint(1000);
  model.process = null;
  tick();
  paint(1010);
  expect(draw).toHaveBeenCalledTimes(3);
});

test('disposed of, it draws nothing', () => {
  const { loop, tick, paint } = world();
  const draw = vi.fn();
  loop.add(draw);
  tick();
  loop.dispose();
  paint(1000);
  tick();
  expect(draw).toHaveBeenCalledTimes(1);
});
