/** The form that begins a rollout. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IRolloutRequest } from '../service/versionWire';

/** As typed. */
export interface IRolloutDraft {
  readonly steps: string;
  readonly every: string;
  readonly guard: string;
}

export type RolloutField = keyof IRolloutDraft;

export const NEW_ROLLOUT: IRolloutDraft = {
  steps: '1, 10, 50, 100',
  every: '5m',
  guard: 'errors<1.5x, p99<1.1x'
};

const STEP = /^(\d+\.?\d*|\.\d+)\s*%?$/;
const EVERY = /^(\d+\.?\d*|\.\d+)\s*(s|min|m|h|d)$/;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, min: 60, h: 3600, d: 86400 };

/**
 * Reads the form. What the clauses of a guard may be is the service's to say.
 *
 * @returns what to ask for, null if there is nothing; and what is wrong, by field
 */
export function toRollout(
  trans: TranslationBundle,
  version: string,
  draft: IRolloutDraft
): { asked: IRolloutRequest | null; wrong: ReadonlyMap<RolloutField, string> } {
  const wrong = new Map<RolloutField, string>();
  const steps = draft.steps
    .split(',')
    .map(each => (STEP.test(each.trim()) ? parseFloat(each) / 100 : NaN));
  if (!steps.every((each, i) => each > (steps[i - 1] ?? 0) && each <= 1)) {
    wrong.set('steps', trans.__('Rising, up to 100 %, such as 1, 10, 50, 100'));
  }
  const [, number, unit = ''] = EVERY.exec(draft.every.trim()) ?? [];
  const every_s = Number(number) * (SECONDS[unit] ?? NaN);
  if (!(every_s >= 1 && every_s <= 7 * 86400)) {
    wrong.set('every', trans.__('From 1s to 7d, such as 30s, 5m or 2h'));
  }
  const guard = draft.guard.replace(/\s+/g, '');
  if (guard === '') {
    wrong.set('guard', trans.__('Such as errors<0.5%, p99<1.2x'));
  }
  return { asked: wrong.size > 0 ? null : { version, steps, every_s, guard }, wrong };
}
