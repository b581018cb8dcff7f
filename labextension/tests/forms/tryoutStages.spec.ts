import { describe, expect, test } from 'vitest';
import { stageLines, stageNames } from '../../src/forms/tryoutStages';
import type { IStage } from '../../src/service/wire';

const stage = (name: string, began_us: number, compute_us: number, more = {}): IStage => ({
  stage: name,
  version: '1',
  began_us,
  queue_us: 0,
  batch_us: 0,
  compute_us,
  split_us: 0,
  batch_size: 1,
  batch_requests: 1,
  release_reason: 'idle',
  ...more
});

describe('the lines of a waterfall', () => {
  test('are in the order in which stages began, as parts of the whole', () => {
    const lines = stageLines([stage('rec', 300, 100), stage('det', 0, 300, { version: '4' })]);
    expect(lines.map(({ name, version, from, length }) => [name, version, from, length])).toEqual([
      ['det', '4', 0, 0.75],
      ['rec', '1', 0.75, 0.25]
    ]);
    expect(lines[0]?.seconds).toBeCloseTo(0.0003);
  });

  test('say what the time of each went into', () => {
    const [line] = stageLines([stage('det', 0, 300, { queue_us: 100 })]);
    expect(line?.segments.map(({ part }) => part)).toEqual([0.25, 0, 0.75, 0]);
  });

  test('of a pipeline among them follow it', () => {
    const inner = { stages: [stage('b', 0, 40), stage('c', 50, 50)] };
    const lines = stageLines([stage('a', 0, 100), stage('inner', 100, 100, inner)]);
    expect(lines.map(({ name, depth, from }) => [name, depth, from])).toEqual([
      ['a', 0, 0],
      ['inner', 0, 0.5],
      ['b', 1, 0.5],
      ['c', 1, 0.75]
    ]);
  });

  test('that took no time at all have no length', () => {
    expect(stageLines([stage('a', 0, 0)])).toMatchObject([{ from: 0, length: 0 }]);
    expect(stageLines([])).toEqual([]);
  });
});

test('stages are named with the version that a pipeline asks for', () => {
  const steps = [
    { model: 'det', version: null, inputs: {} },
    { model: 'rec', version: '2', inputs: {} }
  ];
  expect(stageNames(steps, (model, version) => `${model} (${version})`)).toBe('det › rec (2)');
});
