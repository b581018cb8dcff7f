/** Code that calls a model, to be pasted elsewhere. Pure. */

import type { IModelStatus, ITensorSpec } from './wire';

/** The most numbers in one shell command. */
const FEW = 256;

const NUMPY: Readonly<Record<string, string>> = {
  BOOL: 'bool',
  UINT8: 'np.uint8',
  UINT16: 'np.uint16',
  UINT32: 'np.uint32',
  UINT64: 'np.uint64',
  INT8: 'np.int8',
  INT16: 'np.int16',
  INT32: 'np.int32',
  INT64: 'np.int64',
  FP16: 'np.float16',
  FP32: 'np.float32',
  FP64: 'np.float64'
};

/**
 * A curl command. It can be run on the service's machine if the path of the token file is known (and with a request
 * file if the input is large).
 */
export function curl(url: string, tokenFile: string, model: IModelStatus): string {
  const inputs = model.inputs ?? [];
  const few = inputs.every(spec => size(spec) <= FEW);
  const body = JSON.stringify({ inputs: inputs.map(example) });
  return [
    `curl -H "Authorization: Bearer $(cat ${quoted(tokenFile || 'TOKEN_FILE')})" -H "Content-Type: application/json" \\`,
    `     -d ${few ? `'${body}'` : '@request.json'} \\`,
    `     ${url}/v2/models/${model.name}/infer`
  ].join('\n');
}

/** The same call as Python code for a notebook. */
export function python(model: IModelStatus): string {
  const inputs = model.inputs ?? [];
  const [only] = inputs;
  const value =
    inputs.length === 1 && only
      ? array(only)
      : `{${inputs.map(spec => `${JSON.stringify(spec.name)}: ${array(spec)}`).join(', ')}}`;
  const lines = [
    'import workbench',
    '',
    'wb = workbench.connect()',
    `wb["${model.name}"](${value})`
  ];
  return (value.includes('np.') ? ['import numpy as np', ...lines] : lines).join('\n');
}

/** Quotes a text as one shell word. */
function quoted(word: string): string {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'\\''`)}'`;
}

/** The shape of one row; a free dimension becomes 1. */
function shape(spec: ITensorSpec): number[] {
  return spec.shape.map(n => (n < 0 ? 1 : n));
}

function size(spec: ITensorSpec): number {
  return shape(spec).reduce((product, n) => product * n, 1);
}

function example(spec: ITensorSpec): object {
  const { name, datatype } = spec;
  const zero = datatype === 'BYTES' ? '' : datatype === 'BOOL' ? false : 0;
  return {
    name,
    shape: shape(spec),
    datatype,
    data: new Array(Math.min(size(spec), FEW)).fill(zero)
  };
}

function array(spec: ITensorSpec): string {
  const dims = shape(spec);
  const tuple = dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`;
  return spec.datatype === 'BYTES'
    ? `np.full(${tuple}, "", dtype=object)`
    : `np.zeros(${tuple}, ${NUMPY[spec.datatype] ?? 'np.float32'})`;
}
