import { describe, expect, test } from 'vitest';
import { read, textsSent } from '../../src/forms/tryoutAnswer';
import type { ITensor } from '../../src/service/wire';

const tensor = (name: string, datatype: string, shape: number[], data: unknown): ITensor => ({
  name,
  datatype,
  shape,
  data,
  cut: false
});

const scores = (rows: number[][]) =>
  tensor('scores', 'FP32', [rows.length, rows[0]?.length ?? 0], rows);

const LABELS = { scores: ['red', 'green', 'blue'] };

describe('scores', () => {
  test('of one row are its classes, the likeliest first', () => {
    expect(read([scores([[0.2, 0.7, 0.1]])], LABELS, {})).toEqual({
      kind: 'scores',
      rows: [
        [
          { label: 'green', score: 0.7 },
          { label: 'red', score: 0.2 },
          { label: 'blue', score: 0.1 }
        ]
      ],
      more: 0
    });
  });

  test('of several rows are the best class of each', () => {
    const rows = [
      [0.2, 0.7, 0.1],
      [0.6, 0.3, 0.1]
    ];
    expect(read([scores(rows)], LABELS, {})).toMatchObject({
      rows: [[{ label: 'green' }], [{ label: 'red' }]]
    });
  });

  test('of many classes are the five best', () => {
    const names = Array.from({ length: 12 }, (_, i) => `c${i}`);
    const row = names.map((_, i) => i / 100);
    const found = read([scores([row])], { scores: names }, {});
    expect(found).toMatchObject({ more: 7 });
    expect(found?.kind === 'scores' && found.rows[0]?.map(({ label }) => label)).toEqual([
      'c11',
      'c10',
      'c9',
      'c8',
      'c7'
    ]);
  });

  test.each([
    ['are not between 0 and 1', scores([[-3, 2, 1]]), LABELS],
    ['are not a number', tensor('scores', 'FP32', [1, 3], [['NaN', 0, 1]]), LABELS],
    ['have no names', scores([[0.2, 0.7, 0.1]]), {}],
    ['are not as many as their names', scores([[0.4, 0.6]]), LABELS],
    ['are shown in part', { ...scores([[0.2, 0.7, 0.1]]), cut: true }, LABELS]
  ])('are tensors where they %s', (_, output, labels) => {
    expect(read([output], labels, {})).toBeNull();
  });

  test('are one label, where the classes are too many to be told', () => {
    const outputs = [
      tensor('label', 'BYTES', [1], ['tabby']),
      tensor('score', 'FP32', [1], [0.9]),
      { ...tensor('scores', 'FP32', [1, 21000], [[0.9]]), cut: true }
    ];
    expect(read(outputs, {}, {})).toEqual({
      kind: 'scores',
      rows: [[{ label: 'tabby', score: 0.9 }]],
      more: 0
    });
  });
});

describe('entities', () => {
  const entities = (found: unknown) =>
    tensor('entities', 'BYTES', [1], [typeof found === 'string' ? found : JSON.stringify(found)]);
  const text = '😀 Ada was born in London.';

  test('are marked in the text, whose places are counted as Python counts', () => {
    const found = [
      { entity_group: 'PLACE', score: 0.8, word: 'london', start: 18, end: 24 },
      { entity_group: 'PERSON', score: 0.9, word: 'ada', start: 2, end: 5 }
    ];
    expect(read([entities(found)], {}, { text: [text] })).toEqual({
      kind: 'entities',
      rows: [
        [
          { text: '😀 ', mark: null },
          { text: 'Ada', mark: { label: 'PERSON', score: 0.9 } },
          { text: ' was born in ', mark: null },
          { text: 'London', mark: { label: 'PLACE', score: 0.8 } },
          { text: '.', mark: null }
        ]
      ]
    });
  });

  test('that overlap, are empty or lie outside of the text are left out', () => {
    const found = [
      { entity: 'A', score: 1, start: 2, end: 5 },
      { entity: 'B', score: 1, start: 4, end: 9 },
      { entity: 'C', score: 1, start: 6, end: 6 },
      { entity: 'D', score: 1, start: 20, end: 999 }
    ];
    const reading = read([entities(found)], {}, { text: [text] });
    const pieces = reading?.kind === 'entities' ? (reading.rows[0] ?? []) : [];
    expect(pieces.map(({ mark }) => mark?.label)).toEqual([undefined, 'A', undefined]);
    expect(pieces.map(piece => piece.text).join('')).toBe(text);
  });

  test.each(['no JSON', '{}', '[{"start": "x"}]', '[null]'])('are tensors if told as %s', json => {
    expect(read([entities(json)], {}, { text: [text] })).toBeNull();
  });

  test('are tensors where the text is not known', () => {
    expect(read([entities([])], {}, {})).toBeNull();
  });
});

describe('an answer to a question', () => {
  const outputs = (start: number, end: number, answer: string) => [
    tensor('answer', 'BYTES', [1], [answer]),
    tensor('score', 'FP32', [1], [0.4]),
    tensor('start', 'INT64', [1], [start]),
    tensor('end', 'INT64', [1], [end])
  ];

  test('is marked in its context', () => {
    expect(read(outputs(4, 10, 'London'), {}, { context: ['The London.'] })).toEqual({
      kind: 'answers',
      rows: [
        {
          answer: { label: 'London', score: 0.4 },
          pieces: [
            { text: 'The ', mark: null },
            { text: 'London', mark: { label: '', score: 0.4 } },
            { text: '.', mark: null }
          ]
        }
      ]
    });
  });

  test('has of a long context only what is near', () => {
    const context = 'a'.repeat(1000) + 'X' + 'b'.repeat(1000);
    const reading = read(outputs(1000, 1001, 'X'), {}, { context: [context] });
    const pieces = reading?.kind === 'answers' ? (reading.rows[0]?.pieces ?? []) : [];
    expect(pieces.map(({ text }) => text)).toEqual([
      `…${'a'.repeat(400)}`,
      'X',
      `${'b'.repeat(400)}…`
    ]);
  });

  test('that is empty marks nothing', () => {
    expect(read(outputs(0, 0, ''), {}, { context: ['The London.'] })).toMatchObject({
      rows: [{ pieces: [{ text: 'The London.', mark: null }] }]
    });
  });
});

test('an embedding is its size and its first numbers', () => {
  const row = Array.from({ length: 300 }, (_, i) => i);
  expect(read([tensor('embedding', 'FP32', [1, 300], [row])], {}, {})).toEqual({
    kind: 'embeddings',
    rows: [{ size: 300, first: [0, 1, 2, 3, 4, 5, 6, 7] }]
  });
  expect(read([tensor('y', 'FP32', [1, 300], [row])], {}, {})).toBeNull();
});

test('texts that were sent are known where they are told in full', () => {
  const told = [
    tensor('text', 'BYTES', [2, 1], [['a'], ['b']]),
    { ...tensor('long', 'BYTES', [1], ['a']), cut: true },
    tensor('x', 'FP32', [1], [1])
  ];
  expect(textsSent(told)).toEqual({ text: ['a', 'b'] });
});
