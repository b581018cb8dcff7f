import { describe, expect, test } from 'vitest';
import { arranged, ASKED_FOR_S, lastAskedAt, Rank, rankOf } from '../../src/modelList/modelOrder';
import type { IModelStatus } from '../../src/service/wire';
import { model } from '../fixtures';

const NOW = 1000;

function rank(differs: Partial<IModelStatus>, askedAt = 0, others: Partial<IModelStatus>[] = []) {
  const group = {
    name: 'digits',
    current: model(differs),
    others: others.map(each => model(each))
  };
  return rankOf(group, askedAt, NOW);
}

describe('the rank of a model', () => {
  test('is trouble where it failed or refuses calls, whoever asks it', () => {
    const circuit = { state: 'open', reason: 'it crashed', opened: 1 } as const;
    expect(rank({ state: 'Failed' }, NOW)).toBe(Rank.Trouble);
    expect(rank({ circuit }, NOW)).toBe(Rank.Trouble);
    expect(rank({ circuit: { ...circuit, state: 'closed' } })).toBe(Rank.Idle);
  });

  test('is that of an asked one until two minutes after its last request', () => {
    expect(rank({}, NOW)).toBe(Rank.Asked);
    expect(rank({}, NOW - ASKED_FOR_S + 1)).toBe(Rank.Asked);
    expect(rank({}, NOW - ASKED_FOR_S)).toBe(Rank.Idle);
    expect(rank({})).toBe(Rank.Idle);
  });

  test('is under way where any of its versions is', () => {
    expect(rank({ state: 'Loading' })).toBe(Rank.UnderWay);
    expect(rank({}, 0, [{ version: '2', state: 'Warming' }])).toBe(Rank.UnderWay);
    expect(rank({}, NOW, [{ version: '2', state: 'Warming' }])).toBe(Rank.Asked);
  });
});

test('the last time that a model was asked is read from its last minute', () => {
  const columns = (rates: (number | null)[]) => ({
    time: rates.map((_, i) => 10 + i),
    requests_per_s: rates,
    p50_s: [],
    p99_s: [],
    queued: [],
    errors_per_s: []
  });
  expect(lastAskedAt(columns([1, 2, 0, null, 0]))).toBe(11);
  expect(lastAskedAt(columns([0, null]))).toBe(0);
  expect(lastAskedAt(null)).toBe(0);
});

describe('the order', () => {
  const names = ['a', 'b', 'c', 'd'];
  const ranks: Record<string, Rank> = { b: Rank.Asked, d: Rank.Trouble };
  const rank = (name: string) => ranks[name] ?? Rank.Idle;

  test('is trouble, then who is asked, then by name', () => {
    expect(arranged([], names, rank, false)).toEqual(['d', 'b', 'a', 'c']);
    expect(arranged(['d', 'b', 'a', 'c'], names, null, false)).toEqual(names);
  });

  test('is the same array where nothing moved', () => {
    const before = ['d', 'b', 'a', 'c'];
    expect(arranged(before, names, rank, false)).toBe(before);
  });

  test('does not change under the pointer: what is new comes last, what went is gone', () => {
    expect(arranged(['c', 'b', 'a'], ['a', 'b', 'd'], rank, true)).toEqual(['b', 'a', 'd']);
    expect(arranged(names, names, rank, true)).toBe(names);
  });

  test('is made though the pointer is there already, where there was none yet', () => {
    expect(arranged([], names, rank, true)).toEqual(['d', 'b', 'a', 'c']);
  });
});
