import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, test } from 'vitest';
import * as tryout from '../../src/forms/tryoutForm';
import type { ITensor, ITimings } from '../../src/service/wire';

const trans = nullTranslator.load('');

const tensor = (shape: number[], data: unknown, cut = false): ITensor => ({
  name: 'y',
  datatype: 'FP32',
  shape,
  data,
  cut
});

const timings = (differs: Partial<ITimings> = {}): ITimings => ({
  queue_us: 100,
  batch_us: 0,
  compute_us: 300,
  split_us: 0,
  batch_size: 1,
  batch_requests: 1,
  release_reason: 'idle',
  ...differs
});

describe('what is typed', () => {
  const X = { name: 'X', datatype: 'FP32', shape: [-1, 3] };
  const words = { name: 'words', datatype: 'BYTES', shape: [-1] };

  test('begins as one row of zeros that fits', () => {
    expect(tryout.prefill([X, words])).toBe('{\n  "X": [\n    [0, 0, 0]\n  ],\n  "words": [""]\n}');
    expect(JSON.parse(tryout.prefill([{ ...X, datatype: 'BOOL', shape: [] }]))).toEqual({
      X: false
    });
  });

  test('is left to its author where it is long', () => {
    expect(tryout.prefill([{ ...X, shape: [-1, 3, 224, 224] }])).toBe('');
  });

  test('names its inputs, or is the only one', () => {
    expect(tryout.typedInputs(trans, '{"X": [[1, 2, 3]]}', [X])).toEqual({ X: [[1, 2, 3]] });
    expect(tryout.typedInputs(trans, '[[1, 2, 3]]', [X])).toEqual({ X: [[1, 2, 3]] });
  });

  test.each(['7', '"X"', 'null', '[1]'])('cannot be %s where there are two inputs', text => {
    expect(() => tryout.typedInputs(trans, text, [X, words])).toThrow(
      'Give an object with the inputs by their names: X, words'
    );
  });

  test('says what is wrong where it is no JSON', () => {
    expect(() => tryout.typedInputs(trans, '{"X": [1,]}', [X])).toThrow('This is not JSON: ');
  });

  test('can be what was sent, unless that was cut', () => {
    expect(JSON.parse(tryout.asTyped([tensor([1, 2], [[1, 2]])]))).toEqual({ y: [[1, 2]] });
    expect(tryout.asTyped([tensor([1, 2000], [[1]], true)])).toBe('');
  });
});

describe('a tensor as a table', () => {
  test('of a matrix has its columns', () => {
    expect(
      tryout.table(
        tensor(
          [2, 2],
          [
            [1, 0.123456789],
            [-3e-9, 4]
          ]
        )
      )
    ).toEqual({
      columns: [0, 1],
      rows: [
        ['1', '0.123457'],
        ['-3e-9', '4']
      ],
      moreRows: 0,
      moreColumns: 0
    });
  });

  test('of a vector is one column, of a number one cell', () => {
    expect(tryout.table(tensor([2], ['a', true]))?.rows).toEqual([['a'], ['true']]);
    expect(tryout.table(tensor([], 7))?.rows).toEqual([['7']]);
  });

  test('says how much is not shown', () => {
    const wide = Array.from({ length: 30 }, () => Array.from({ length: 20 }, () => 0));
    expect(tryout.table(tensor([100, 20], wide, true))).toMatchObject({
      moreRows: 92,
      moreColumns: 8
    });
  });

  test('has two axes at most', () => {
    expect(tryout.table(tensor([1, 1, 1], [[[1]]]))).toBeNull();
  });

  test('of nothing is empty', () => {
    expect(tryout.table(tensor([0, 3], []))).toMatchObject({ rows: [], moreRows: 0 });
  });
});

test('where the time went adds up', () => {
  expect(tryout.segments(timings()).map(({ part }) => part)).toEqual([0.25, 0, 0.75, 0]);
  const none = timings({ queue_us: 0, compute_us: 0 });
  expect(tryout.segments(none).map(({ part }) => part)).toEqual([0, 0, 0, 0]);
});

test('the batch it travelled in is told in words', () => {
  expect(tryout.travelled(trans, timings())).toBe(
    'It was run alone, in a batch of 1 row: a runner was free.'
  );
  expect(
    tryout.travelled(trans, timings({ batch_size: 5, batch_requests: 3, release_reason: '' }))
  ).toBe('It was run in a batch of 5 rows with 2 others.');
});

test('a kind of tensor is named with its shape', () => {
  expect(tryout.kind({ name: 'x', datatype: 'FP32', shape: [-1, 4] })).toBe('FP32 [?, 4]');
});
