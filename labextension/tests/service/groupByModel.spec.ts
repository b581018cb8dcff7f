import { expect, test } from 'vitest';
import { isModelName, nameFromPath, groupByModel } from '../../src/service/groupByModel';
import { model } from '../fixtures';

test('one entry a name, in an order that states do not change', () => {
  const names = groupByModel([
    model({ name: 'b10' }),
    model({ name: 'b2', state: 'Failed', routed: false }),
    model({ name: 'a' })
  ]).map(({ name }) => name);
  expect(names).toEqual(['a', 'b2', 'b10']);
});

test('the routed version stands for the model, the others beside it', () => {
  const [entry] = groupByModel([
    model({ version: '1', state: 'Draining', routed: false }),
    model({ version: '2' }),
    model({ version: '10', state: 'Warming', routed: false })
  ]);
  expect(entry?.current.version).toBe('2');
  expect(entry?.others.map(({ version }) => version)).toEqual(['10', '1']);
});

test('where nothing is routed, the newest stands for it', () => {
  const [entry] = groupByModel([
    model({ version: '9', state: 'Failed', routed: false }),
    model({ version: '10', state: 'Loading', routed: false })
  ]);
  expect(entry?.current.version).toBe('10');
});

test('what is gone is not shown', () => {
  expect(groupByModel([model({ state: 'Gone', routed: false })])).toEqual([]);
});

test.each([
  ['models/digits.onnx', 'digits'],
  ['my model (2).ONNX', 'my_model__2_'],
  ['a..b.onnx', 'a.b'],
  ['models/digits.ORT', 'digits'],
  ['.hidden.onnx', 'hidden'],
  ['-x.onnx', 'x'],
  ['résumé.onnx', 'resume'],
  ['grö\u0308ße.onnx', 'gro_e'],
  ['模型.onnx', '__'],
  ['drive:folder/net.v2.onnx', 'net.v2'],
  ['', ''],
  [`${'n'.repeat(200)}.onnx`, 'n'.repeat(128)]
])('%s is served as %s', (path, name) => {
  expect(nameFromPath(path)).toBe(name);
  expect(name === '' || isModelName(name)).toBe(true);
});

test.each(['', 'a/b', '.a', '-a', 'a..b', 'a b', 'n'.repeat(129)])('%s is no name', name => {
  expect(isModelName(name)).toBe(false);
});
