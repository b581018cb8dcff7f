/** Models as a user thinks of them: by name, whatever versions live under it. Pure. */

import type { IModelStatus, ModelState } from './wire';

export interface IModelGroup {
  readonly name: string;
  /** The version that callers get; where there is none, the newest. */
  readonly current: IModelStatus;
  /** The other versions, newest first: one that warms up, drains, or failed. */
  readonly others: readonly IModelStatus[];
}

/** One entry a name, by name. The order does not depend on states, so that nothing jumps. */
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

/** Whether it is on its way somewhere. */
export function isUnderWay(state: ModelState): boolean {
  return state === 'Loading' || state === 'Warming' || state === 'Draining';
}

/** The name that a file is served as unless another is asked for: its stem, in the letters that names may have, without accents. */
export function nameFromPath(path: string): string {
  const file = path.split(/[\\/]/).pop() ?? '';
  const stem = file.replace(/\.onnx$/i, '');
  return stem
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^A-Za-z0-9_.-]/g, '_')
    .replace(/\.{2,}/g, '.')
    .replace(/^[.-]+/, '')
    .slice(0, 128);
}

/** Whether a model may be called so: letters, digits, `_`, `-` and single `.`, 128 at most. */
export function isModelName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(name) && !name.includes('..');
}

export function isOnnxPath(path: string): boolean {
  return /\.onnx$/i.test(path);
}
