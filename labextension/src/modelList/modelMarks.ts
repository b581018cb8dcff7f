/** The small marks on the line of a model. Pure. */

import type { ITrans } from '../plots/contract';
import type { IModelGroup } from '../service/groupByModel';
import type { IShare } from '../service/shareWire';
import { isActive } from '../share/shareForm';

export interface IMark {
  readonly kind: 'canary' | 'share';
  /** What is written; empty where an icon says it. */
  readonly text: string;
  /** The same as a sentence. */
  readonly hint: string;
}

/** The marks of a model: how its calls are split, and whom it is shared with. */
export function marksOf(
  trans: ITrans,
  { current, others }: IModelGroup,
  shares: readonly string[]
): readonly IMark[] {
  const parts = others.filter(({ weight = 0 }) => weight > 0);
  return [
    ...parts.slice(0, 1).map(({ version, weight = 0 }): IMark => {
      const part = percent(weight);
      return {
        kind: 'canary',
        text: parts.length > 1 ? `${part} +${parts.length - 1}` : part,
        hint: trans.__(
          '%1 of the calls go to version %2, not to %3',
          part,
          version,
          current.version
        )
      };
    }),
    ...(shares.length > 0
      ? [{ kind: 'share', text: '', hint: trans.__('Shared: %1', shares.join(', ')) } as const]
      : [])
  ];
}

/** The labels of the shares that have not ended, by model. */
export function sharesByModel(
  shares: readonly IShare[] | null
): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const { models, label, id } of (shares ?? []).filter(isActive)) {
    models.forEach(name => found.set(name, [...(found.get(name) ?? []), label || id]));
  }
  return found;
}

function percent(part: number): string {
  return `${Number((part * 100).toFixed(2))} %`;
}
