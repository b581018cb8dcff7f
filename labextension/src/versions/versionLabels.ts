/** Texts about the versions of a model. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IRouted, IVersionEntry, IVersionOverview } from '../service/versionWire';
import * as format from '../ui/format';
import { MODEL_TONES, modelStateLabel, type Tone } from '../ui/labels';

/** A part of the calls: 0.1 is "10 %". */
export function percent(weight: number): string {
  return `${Number((weight * 100).toFixed(2))} %`;
}

/** Whether it serves, and else in which state it is. */
export function entryState(
  trans: TranslationBundle,
  { state, routed, weight, loaded_at }: IVersionEntry
): [tone: Tone, word: string] {
  if (state === 'stored') {
    return ['off', trans.__('Kept, not loaded')];
  }
  if (state !== 'Ready' || loaded_at === 0) {
    return [MODEL_TONES[state], modelStateLabel(trans, state)];
  }
  if (routed) {
    return ['good', trans.__('Serves')];
  }
  return weight > 0
    ? ['good', trans.__('Gets a part of the calls')]
    : ['off', trans.__('Called by its name')];
}

/** The shares whose calls it gets by themselves, a line each. */
export function sharesText(trans: TranslationBundle, { shares = {} }: IVersionEntry): string[] {
  return Object.entries(shares).map(([label, part]) =>
    trans.__('Gets %1 of the calls of share %2', percent(part), label)
  );
}

/** The version that a rollback goes back to, or null; the split that it ends comes first. */
export function rollbackGoesTo({ versions }: IVersionOverview): string | null {
  const serving = versions.find(({ routed }) => routed);
  if (serving && isSplit(versions)) {
    return serving.version;
  }
  return versions.find(({ before }) => before)?.version ?? null;
}

/** Whether more than one version gets calls that name none. */
export function isSplit(versions: readonly IVersionEntry[]): boolean {
  return versions.filter(({ weight }) => weight > 0).length > 1;
}

/** What a change of the parts of the calls, or a rollback, has done. */
export function routedText(trans: TranslationBundle, done: IRouted): string {
  const { model, previous, seconds, weights = {} } = done;
  const parts = Object.entries(weights);
  if (parts.length > 1) {
    const told = parts.map(([version, weight]) =>
      trans.__('version %1 gets %2', version, percent(weight))
    );
    return trans.__('The calls are split: %1', told.join(', '));
  }
  if (previous === null || previous === model.version) {
    return trans.__('Version %1 gets all calls without a version', model.version);
  }
  return trans.__(
    'Version %1 serves instead of version %2; it took %3',
    model.version,
    previous,
    format.duration(seconds)
  );
}

/** The weights of what was typed, in percent by version; a message where one is no part of 100 %. */
export function weightsFrom(
  trans: TranslationBundle,
  typed: Readonly<Record<string, string>>
): Readonly<Record<string, number>> | string {
  const weights: Record<string, number> = {};
  for (const [version, text] of Object.entries(typed)) {
    const value = text.trim() === '' ? 0 : Number(text.trim().replace(/\s*%$/, ''));
    if (!(value >= 0 && value <= 100)) {
      return trans.__('The part of version %1 must be from 0 to 100 %, got %2', version, text);
    }
    weights[version] = value / 100;
  }
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  return total > 1 + 1e-9
    ? trans.__('The parts are %1 together; at most 100 % can be given', percent(total))
    : weights;
}

/** "canary" or "canary, stable": labels as they are typed. */
export function labelsFrom(text: string): readonly string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}
