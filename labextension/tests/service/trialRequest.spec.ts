import { expect, test } from 'vitest';
import { trialRequest } from '../../src/service/trialRequest';

test('a trial without files is JSON', () => {
  const trial = { inputs: { x: [1] }, rows: 1, seed: null };
  expect(trialRequest(trial)).toEqual({ method: 'POST', body: JSON.stringify(trial) });
  expect(trialRequest({ ...trial, files: new Map() }).body).toBe(JSON.stringify(trial));
});

test('files follow the JSON as they are, in the order in which it names them', async () => {
  const files = new Map([
    ['b', new Blob(['bb'])],
    ['1', new Blob([new Uint8Array([0, 255])])]
  ]);
  const { headers, body } = trialRequest({ inputs: { t: ['ü'] }, rows: 1, seed: null, files });
  const told = headers as Record<string, string>;
  const content = new Uint8Array(await (body as Blob).arrayBuffer());
  const length = Number(told['Inference-Header-Content-Length']);
  const head = JSON.parse(new TextDecoder().decode(content.slice(0, length)));
  expect(told['Content-Type']).toBe('application/octet-stream');
  expect(head).toEqual({ inputs: { t: ['ü'] }, rows: 1, seed: null, files: { '1': 2, b: 2 } });
  expect([...content.slice(length)]).toEqual([0, 255, 98, 98]);
});
