/** Groups model versions by name, and checks names. Pure. */

import type { IModelStatus, ModelState } from './wire';

export interface IModelGroup {
  readonly name: string;
  /** The version that callers get, else the newest. */
  readonly current: IModelStatus;
  /** The other versions, newest first: those that load, drain or failed. */
  readonly others: readonly IModelStatus[];
}

/** One group per name, sorted by name. The order does not depend on states, so that cards do not jump. */
export function groupByModel(statuses: readonly IModelStatus[]): readonly IModelGroup[] {
  const byName = new Map<string, IModelStatus[]>();
  for (const status of statuses) {
    if (status.state !== 'Gone') {
      byName.set(status.name, [...(byName.get(status.name) ?? []), status]);
    }
  }
  return [...byName]
    .sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }))
    .map(([name, versions]) => {
      const sorted = [...versions].sort((a, b) => Number(b.version) - Number(a.version));
      const current = sorted.find(({ routed }) => routed) ?? (sorted[0] as IModelStatus);
      return { name, current, others: sorted.filter(status => status !== current) };
    });
}

const MODEL_FILE = /\.(onnx|ort)$/i;

/** Whether the state is a transitional one. */
export function isUnderWay(state: ModelState): boolean {
  return state === 'Loading' || state === 'Warming' || state === 'Draining';
}

/** The default name of a file: its stem without accents, other characters replaced by `_`. */
export function nameFromPath(path: string): string {
  const file = path.split(/[\\/]/).pop() ?? '';
  const stem = file.replace(MODEL_FILE, '');
  return stem
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^A-Za-z0-9_.-]/g, '_')
    .replace(/\.{2,}/g, '.')
    .replace(/^[.-]+/, '')
    .slice(0, 128);
}

/** Whether a name is valid: letters, digits, `_`, `-` and single `.`, 128 at most. */
export function isModelName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(name) && !name.includes('..');
}

/** Whether the path is that of an ONNX model, or of one in ONNX Runtime's own format. */
export function isModelPath(path: string): boolean {
  return MODEL_FILE.test(path);
}
