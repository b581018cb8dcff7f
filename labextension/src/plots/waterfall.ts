/** The stages of one request over time. Pure. */

import type { ISlow } from './contract';
import { WAY } from './palette';

export interface IStep {
  readonly stage: string;
  /** Seconds after the request came. */
  readonly begin_s: number;
  readonly seconds: number;
}

/**
 * The stages of a request one after the other. Time outside of all stages comes last, as `other`, if it is more
 * than a hundredth.
 */
export function steps({ stages_s, duration_s }: ISlow): readonly IStep[] {
  const known: readonly string[] = WAY;
  const names = [
    ...known.filter(stage => stage in stages_s),
    ...Object.keys(stages_s).filter(stage => !known.includes(stage))
  ];
  const found: IStep[] = [];
  let at = 0;
  for (const stage of names) {
    const seconds = stages_s[stage];
    if (seconds !== null && seconds !== undefined) {
      found.push({ stage, begin_s: at, seconds });
      at += seconds;
    }
  }
  if (duration_s - at > duration_s / 100) {
    found.push({ stage: 'other', begin_s: at, seconds: duration_s - at });
  }
  return found;
}

/** The rows of the other requests in its batch, largest first. */
export function mates({ rows, batch_rows }: ISlow): readonly number[] {
  const all = [...(batch_rows ?? [])];
  const own = rows === null ? -1 : all.indexOf(rows);
  if (own >= 0) {
    all.splice(own, 1);
  } else {
    all.shift();
  }
  return all.sort((a, b) => b - a);
}
