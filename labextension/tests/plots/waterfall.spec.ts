import { describe, expect, test } from 'vitest';
import type { ISlow } from '../../src/plots/contract';
import { mates, steps } from '../../src/plots/waterfall';

function slow(differs: Partial<ISlow> = {}): ISlow {
  return {
    time: 1000,
    version: '1',
    outcome: 'ok',
    duration_s: 0.1,
    stages_s: { compute: 0.05, queue: 0.02, send: 0.03 },
    rows: 2,
    batch_size: 8,
    batch_rows: [1, 2, 5],
    release_reason: 'full',
    request_bytes: 10,
    response_bytes: 10,
    request_id: 'a',
    trace_id: '',
    id: '',
    ...differs
  };
}

describe('stages', () => {
  test('follow each other in the order of a request', () => {
    expect(steps(slow())).toEqual([
      { stage: 'queue', begin_s: 0, seconds: 0.02 },
      { stage: 'compute', begin_s: 0.02, seconds: 0.05 },
      { stage: 'send', begin_s: 0.07, seconds: 0.03 }
    ]);
  });

  test('that it did not get to are left out, and what nobody accounts for is told', () => {
    const found = steps(slow({ stages_s: { queue: 0.06, compute: null } }));
    expect(found.map(({ stage }) => stage)).toEqual(['queue', 'other']);
    expect(found[1]?.seconds).toBeCloseTo(0.04);
  });

  test('that a newer service names come after those that are known', () => {
    const found = steps(slow({ stages_s: { moon: 0.01, queue: 0.09 } }));
    expect(found.map(({ stage }) => stage)).toEqual(['queue', 'moon']);
  });
});

describe('batch mates', () => {
  test('are the others', () => {
    expect(mates(slow())).toEqual([5, 1]);
  });

  test('of one that had none are none', () => {
    expect(mates(slow({ batch_rows: [2] }))).toEqual([]);
    expect(mates(slow({ batch_rows: null }))).toEqual([]);
  });
});
