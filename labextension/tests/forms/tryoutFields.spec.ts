import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, test } from 'vitest';
import * as tryout from '../../src/forms/tryoutFields';
import type { IPipeline, ITensorSpec } from '../../src/service/wire';
import { model } from '../fixtures';

const trans = nullTranslator.load('');

const bytes = (name: string, shape: number[] = [-1]): ITensorSpec => ({
  name,
  datatype: 'BYTES',
  shape
});

const photos = model({
  name: 'photos',
  version: '3',
  platform: 'workbench_bundle',
  inputs: [bytes('image')]
});

const pipeline = (taken: string, version: string | null = null): IPipeline => ({
  steps: [
    { model: 'photos', version, inputs: { image: 'picture' } },
    { model: 'names', version: null, inputs: { text: 'label' } }
  ],
  inputs: { [taken]: 'picture' }
});

const kinds = (...args: Parameters<typeof tryout.inputFields>) =>
  tryout.inputFields(...args)?.map(({ kind }) => kind) ?? null;

describe('which inputs have fields', () => {
  test('texts, one a row or one cell a row', () => {
    expect(
      kinds(model({ inputs: [bytes('a'), bytes('b', [-1, 1]), bytes('c', [1])] }), [])
    ).toEqual(['text', 'text', 'text']);
  });

  test('none where another one is numbers, several texts, or of unknown rank', () => {
    const x = { name: 'x', datatype: 'FP32', shape: [-1] };
    expect(kinds(model({ inputs: [bytes('a'), x] }), [])).toBeNull();
    expect(kinds(model({ inputs: [bytes('a', [-1, -1])] }), [])).toBeNull();
    expect(kinds(model({ inputs: [bytes('a', [4])] }), [])).toBeNull();
    expect(kinds(model({ inputs: [{ ...bytes('a', []), ranked: false }] }), [])).toBeNull();
    expect(kinds(model({ inputs: null }), [])).toBeNull();
  });

  test('a picture, where the model is one of pictures', () => {
    expect(kinds(photos, [])).toEqual(['picture']);
    expect(kinds({ ...photos, platform: 'onnxruntime_onnx' }, [])).toEqual(['text']);
  });

  test('a picture, where a pipeline hands it to such a model', () => {
    const whole = model({ name: 'whole', inputs: [bytes('photo')], pipeline: pipeline('photo') });
    expect(kinds(whole, [photos, whole])).toEqual(['picture']);
    expect(kinds(whole, [{ ...photos, routed: false }, whole])).toEqual(['text']);
    const pinned = { ...whole, pipeline: pipeline('photo', '3') };
    expect(kinds(pinned, [{ ...photos, routed: false }])).toEqual(['picture']);
    expect(kinds(pinned, [{ ...photos, version: '2' }])).toEqual(['text']);
  });

  test('pipelines that go round in a circle are not followed for ever', () => {
    const round = model({
      name: 'round',
      inputs: [bytes('a')],
      pipeline: {
        steps: [{ model: 'round', version: null, inputs: { a: 't' } }],
        inputs: { a: 't' }
      }
    });
    expect(kinds(round, [round])).toEqual(['text']);
  });
});

describe('what is given', () => {
  const fields = tryout.inputFields(
    model({ inputs: [bytes('text'), bytes('cell', [-1, 1])] }),
    []
  )!;
  const file = new File(['abc'], 'a.png', { type: 'image/png' });

  test('is one row of each text', () => {
    const given = new Map([['text', 'hello']]);
    expect(tryout.isGiven(fields, new Map())).toBe(false);
    expect(tryout.isGiven(fields, new Map([['text', '  ']]))).toBe(false);
    expect(tryout.isGiven(fields, given)).toBe(true);
    expect(tryout.givenTexts(fields, given)).toEqual({ text: ['hello'], cell: [['']] });
  });

  test('is every picture', () => {
    const both = tryout.inputFields(photos, [])!;
    expect(tryout.isGiven(both, new Map())).toBe(false);
    const given = new Map([['image', file]]);
    expect(tryout.isGiven(both, given)).toBe(true);
    expect(tryout.givenTexts(both, given)).toEqual({});
    expect([...tryout.givenFiles(both, given)]).toEqual([['image', file]]);
  });
});

test('a file that is no picture, or too large, is refused in words', () => {
  const named = { name: 'a.png', size: 10, type: 'image/png' };
  expect(tryout.pictureTrouble(trans, named)).toBe('');
  expect(tryout.pictureTrouble(trans, { ...named, type: '' })).toBe('');
  expect(tryout.pictureTrouble(trans, { name: 'a.txt', size: 10, type: 'text/plain' })).toBe(
    'a.txt is no picture: choose a JPEG, PNG, WEBP or BMP file.'
  );
  expect(tryout.pictureTrouble(trans, { ...named, size: 25 * 2 ** 20 })).toBe(
    'a.png has 25.0 MiB, and at most 20 MiB can be tried here. Call the model from a notebook for larger ones.'
  );
});
