/** The order of the models in the panel. Pure. */

import type { IModelGroup } from '../service/groupByModel';
import type { IColumns } from '../service/wire';

/** A model counts as asked for this long after its last request, so that it does not come and go. */
export const ASKED_FOR_S = 120;

/** Models of a lower rank stand first. */
export enum Rank {
  /** It failed, or its calls are refused. */
  Trouble,
  Asked,
  /** It loads, warms up or drains. */
  UnderWay,
  Idle
}

/** The rank of a model that was asked last at `askedAt`, which is 0 if that is not known. */
export function rankOf({ current, others }: IModelGroup, askedAt: number, now: number): Rank {
  if (current.state === 'Failed' || (current.circuit && current.circuit.state !== 'closed')) {
    return Rank.Trouble;
  }
  if (askedAt > 0 && now - askedAt < ASKED_FOR_S) {
    return Rank.Asked;
  }
  const states = [current, ...others].map(({ state }) => state);
  return states.some(state => state === 'Loading' || state === 'Warming' || state === 'Draining')
    ? Rank.UnderWay
    : Rank.Idle;
}

/** The time of the last point in which there were requests; 0 if there is none. */
export function lastAskedAt(columns: IColumns | null): number {
  const rates = columns?.requests_per_s ?? [];
  for (let i = rates.length - 1; i >= 0; i -= 1) {
    if ((rates[i] ?? 0) > 0) {
      return columns?.time[i] ?? 0;
    }
  }
  return 0;
}

/**
 * The names in the order in which they are shown; the same array as `before` if that has not changed.
 *
 * @param names - sorted by name
 * @param rank - null: by name alone
 * @param isHeld - whether the pointer or the focus is on the list: nothing moves then, and new models come last
 */
export function arranged(
  before: readonly string[],
  names: readonly string[],
  rank: ((name: string) => Rank) | null,
  isHeld: boolean
): readonly string[] {
  const next = isHeld && before.length > 0 ? kept(before, names) : sorted(names, rank);
  return next.length === before.length && next.every((name, i) => name === before[i])
    ? before
    : next;
}

function kept(before: readonly string[], names: readonly string[]): readonly string[] {
  const there = new Set(names);
  const known = new Set(before);
  return [...before.filter(name => there.has(name)), ...names.filter(name => !known.has(name))];
}

/** Within a rank by name, since sorting is stable. */
function sorted(
  names: readonly string[],
  rank: ((name: string) => Rank) | null
): readonly string[] {
  if (rank === null) {
    return names;
  }
  const ranks = new Map(names.map(name => [name, rank(name)]));
  return [...names].sort((a, b) => (ranks.get(a) as Rank) - (ranks.get(b) as Rank));
}
