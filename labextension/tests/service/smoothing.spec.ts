import { describe, expect, it } from 'vitest';
import { smoothed, withTick } from '../../src/service/smoothing';
import type { IFigures } from '../../src/service/wire';

function tick(time: number, rate: number, epoch = 'a', interval_s = 0.25): IFigures {
  const figures = {
    requests_per_s: rate,
    errors_per_s: rate / 2,
    p50_s: time,
    p99_s: null,
    queued: rate
  };
  return {
    type: 'figures',
    epoch,
    sequence: time * 4,
    time,
    interval_s,
    process: { cpu: 0, resident_bytes: 0 },
    models: { m: figures }
  } as unknown as IFigures;
}

describe('rates', () => {
  it('are those of two seconds, so that few requests do not flicker', () => {
    let ticks: readonly IFigures[] = [];
    for (let i = 0; i < 40; i++) {
      ticks = withTick(ticks, tick(i / 4, i % 4 === 0 ? 8 : 0));
    }
    expect(ticks.length).toBe(8);
    expect(smoothed(ticks, 'm')?.requests_per_s).toBe(2);
    expect(smoothed(ticks, 'm')?.errors_per_s).toBe(1);
  });

  it('rise with the first tick, and what is no rate is the last', () => {
    const ticks = withTick(withTick([], tick(1, 0)), tick(1.25, 4));
    expect(smoothed(ticks, 'm')).toMatchObject({ requests_per_s: 2, p50_s: 1.25, queued: 4 });
  });

  it('count longer ticks for more', () => {
    const ticks = withTick(withTick([], tick(1, 4, 'a', 0.75)), tick(1.25, 0));
    expect(smoothed(ticks, 'm')?.requests_per_s).toBe(3);
  });

  it('begin anew with another run of the service', () => {
    expect(withTick([tick(1, 100)], tick(1.25, 4, 'b')).length).toBe(1);
  });

  it('are unknown where the last tick does not know the model', () => {
    expect(smoothed([tick(1, 4)], 'other')).toBeNull();
    expect(smoothed([], 'm')).toBeNull();
  });
});
