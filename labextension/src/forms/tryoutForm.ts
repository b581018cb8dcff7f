/** The inputs and results of "Try it" as text and tables. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { visible } from '../service/visibleText';
import type { ITensor, ITensorSpec, ITimings } from '../service/wire';

/** The most numbers that are offered for editing. */
const FEW = 256;

/** The most rows and columns of a table. */
const ROWS = 8;
const COLUMNS = 12;

/** One row of zeros that fits, as JSON; empty if it would be too long to edit. */
export function prefill(inputs: readonly ITensorSpec[]): string {
  const shapes = inputs.map(({ shape }) => shape.map(n => (n < 0 ? 1 : n)));
  if (shapes.some(shape => shape.reduce((product, n) => product * n, 1) > FEW)) {
    return '';
  }
  return json(
    Object.fromEntries(
      inputs.map((spec, i) => [spec.name, filled(shapes[i] ?? [], zero(spec.datatype))])
    )
  );
}

/** The inputs that were sent, as JSON for editing; empty if they were truncated. */
export function asTyped(tensors: readonly ITensor[]): string {
  return tensors.some(({ cut }) => cut)
    ? ''
    : json(Object.fromEntries(tensors.map(({ name, data }) => [name, data])));
}

/** Parses typed inputs: an object by name, or the value of a single input. Throws an Error with a readable message. */
export function typedInputs(
  trans: TranslationBundle,
  text: string,
  inputs: readonly ITensorSpec[]
): Readonly<Record<string, unknown>> {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Error(trans.__('This is not JSON: %1', (error as Error).message));
  }
  const [only] = inputs;
  if (Array.isArray(found) && inputs.length === 1 && only) {
    return { [only.name]: found };
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) {
    const names = inputs.map(({ name }) => name).join(', ');
    throw new Error(trans.__('Give an object with the inputs by their names: %1', names));
  }
  return found as Record<string, unknown>;
}

/** JSON in which each innermost list is one line. */
export function json(value: unknown, indent = ''): string {
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    return value.some(Array.isArray)
      ? `[\n${value.map(each => deeper + json(each, deeper)).join(',\n')}\n${indent}]`
      : `[${value.map(each => visible(JSON.stringify(each))).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([name, each]) => `${deeper}${JSON.stringify(name)}: ${json(each, deeper)}`
    );
    return members.length > 0 ? `{\n${members.join(',\n')}\n${indent}}` : '{}';
  }
  return visible(JSON.stringify(value) ?? 'null');
}

export interface ITable {
  /** Indices into the second axis; empty if there is none. */
  readonly columns: readonly number[];
  readonly rows: readonly (readonly string[])[];
  /** The rows and columns that are not shown. */
  readonly moreRows: number;
  readonly moreColumns: number;
}

/** A tensor as a table; null if it has more than two axes. */
export function table({ shape, data }: ITensor): ITable | null {
  if (shape.length > 2) {
    return null;
  }
  const rows = (shape.length === 0 ? [data] : list(data)).map(row =>
    shape.length === 2 ? list(row) : [row]
  );
  const width = shape.length === 2 ? (shape[1] ?? 0) : 1;
  const columns = Math.min(width, COLUMNS);
  const some = rows.slice(0, ROWS);
  return {
    columns: shape.length === 2 ? Array.from({ length: columns }, (_, i) => i) : [],
    rows: some.map(row => row.slice(0, columns).map(cell)),
    moreRows: Math.max(0, (shape[0] ?? 1) - some.length),
    moreColumns: width - columns
  };
}

/** "FP32 [1, 4]" */
export function kind({ datatype, shape }: ITensorSpec): string {
  return `${datatype} [${shape.map(n => (n < 0 ? '?' : n)).join(', ')}]`;
}

/** Formats a value; numbers get six significant digits. */
export function cell(value: unknown): string {
  if (typeof value === 'number') {
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  }
  return typeof value === 'string' ? visible(value) : (JSON.stringify(value) ?? '');
}

export interface ISegment {
  readonly stage: 'queue' | 'batch' | 'compute' | 'split';
  readonly seconds: number;
  /** The share of the whole, 0 to 1. */
  readonly part: number;
}

/** The stages of a request, in order. */
export function segments(timings: ITimings): readonly ISegment[] {
  const { queue_us, batch_us, compute_us, split_us } = timings;
  const whole = queue_us + batch_us + compute_us + split_us;
  const segment = (stage: ISegment['stage'], us: number) => ({
    stage,
    seconds: us / 1e6,
    part: whole > 0 ? us / whole : 0
  });
  return [
    segment('queue', queue_us),
    segment('batch', batch_us),
    segment('compute', compute_us),
    segment('split', split_us)
  ];
}

/** Describes the batch that a request ran in, and why it was released. */
export function travelled(trans: TranslationBundle, timings: ITimings): string {
  const { batch_size, batch_requests, release_reason } = timings;
  const company =
    batch_requests > 1
      ? trans._n(
          'It was run in a batch of %2 rows with %1 other',
          'It was run in a batch of %2 rows with %1 others',
          batch_requests - 1,
          batch_size
        )
      : trans._n(
          'It was run alone, in a batch of %1 row',
          'It was run alone, in a batch of %1 rows',
          batch_size
        );
  const why = releaseWords(trans, release_reason);
  return why ? `${company}: ${why}.` : `${company}.`;
}

function releaseWords(trans: TranslationBundle, reason: string): string {
  switch (reason) {
    case 'idle':
      return trans.__('a runner was free');
    case 'full':
      return trans.__('the batch was as large as it may be');
    case 'delay':
      return trans.__('the batch delay was over');
    case 'shape':
      return trans.__('the next request had another shape');
    case 'alone':
      return trans.__('this model is served unbatched, or its batch had failed');
    case 'drain':
      return trans.__('the version was going');
    default:
      return reason;
  }
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function zero(datatype: string): unknown {
  return datatype === 'BYTES' ? '' : datatype === 'BOOL' ? false : 0;
}

function filled(shape: readonly number[], value: unknown): unknown {
  const [n, ...rest] = shape;
  return n === undefined ? value : Array.from({ length: n }, () => filled(rest, value));
}
