/** The form that makes a share. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { groupByModel } from '../service/groupByModel';
import type { IShare, IShareTerms } from '../service/shareWire';
import type { IModelStatus } from '../service/wire';

/** As typed. */
export interface IShareDraft {
  /** Empty until something is typed or chosen: then the first one is meant. */
  readonly model: string;
  readonly label: string;
  readonly rate: string;
  readonly expires: string;
  readonly rowRate: string;
  readonly quota: string;
  readonly rowQuota: string;
  readonly atOnce: string;
  readonly maxBody: string;
  readonly version: string;
  /** Whether the share may read the metrics of its models. */
  readonly metrics: boolean;
}

export type ShareField = Exclude<keyof IShareDraft, 'model' | 'metrics'>;

export const NEW_SHARE: IShareDraft = {
  model: '',
  label: '',
  rate: '20/s',
  expires: '7d',
  rowRate: '',
  quota: '',
  rowQuota: '',
  atOnce: '',
  maxBody: '',
  version: '',
  metrics: false
};

const LABEL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const RATE = /^\d{1,12}(\.\d{1,12})?\s*(\/\s*(s|min|m|h))?$/;
const EXPIRES = /^\d+(\.\d+)?\s*(s|min|m|h|d)$/;
const QUOTA = /^\d{1,13}\s*(\/\s*(d|day))?$/;
const COUNT = /^\d{1,12}$/;
const BYTES = /^\d{1,12}(\.\d{1,12})?\s*(([kKMG]i?)?B)?$/;
const VERSION = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

interface IMoreLimit {
  readonly field: ShareField;
  readonly label: string;
  /** What holds where it is empty. */
  readonly none: string;
  /** What is said of a text that is wrong. */
  readonly hint: string;
  readonly isRight: (text: string) => boolean;
}

/** The fields that are folded away. */
export function moreLimits(trans: TranslationBundle): readonly IMoreLimit[] {
  const limit = (
    field: ShareField,
    label: string,
    form: RegExp,
    example: string,
    none = trans.__('no limit')
  ): IMoreLimit => ({
    field,
    label,
    none,
    hint: trans.__('Such as %1; empty: %2', example, none),
    isRight: text => isAbove0(form, text)
  });
  return [
    limit('rowRate', trans.__('Rows a second'), RATE, '2000/s'),
    limit('quota', trans.__('Requests a day'), QUOTA, '10000'),
    limit('rowQuota', trans.__('Rows a day'), QUOTA, '1000000'),
    limit('atOnce', trans.__('Requests at once'), COUNT, '4', '16'),
    limit('maxBody', trans.__('Largest body'), BYTES, '64KiB, 1MB'),
    {
      ...limit('version', trans.__('Only version'), VERSION, '3', trans.__('the one that serves')),
      isRight: text => VERSION.test(text)
    }
  ];
}

/** How many of the fields that are folded away hold something. */
export function countLimits(draft: IShareDraft, limits: readonly IMoreLimit[]): number {
  return limits.filter(({ field }) => draft[field].trim() !== '').length + Number(draft.metrics);
}

/** Whether a share's token, or the link that gives it, can be used. */
export function isActive(share: IShare): boolean {
  return share.state === 'unclaimed' || share.state === 'holds';
}

/**
 * The names of the models that can be shared. While a label is typed, the chosen one stays, so that none is shared in its
 * place when it is unloaded; the service says that it is.
 */
export function shareableModels(
  models: readonly IModelStatus[],
  { model, label }: IShareDraft
): readonly string[] {
  const names = groupByModel(models)
    .filter(({ current }) => current.state === 'Ready' && current.routed)
    .map(({ name }) => name);
  return label === '' || model === '' || names.includes(model) ? names : [...names, model];
}

/**
 * Reads the form. An empty label is no error, but there are no terms without one.
 *
 * @param shares - those that exist: one that is active has its label alone
 * @returns the terms to ask for, null if there are none; and what is wrong, by field
 */
export function toShareTerms(
  trans: TranslationBundle,
  draft: IShareDraft,
  shares: readonly IShare[]
): { terms: IShareTerms | null; wrong: ReadonlyMap<ShareField, string> } {
  const [label, rate, expires] = [draft.label.trim(), draft.rate.trim(), draft.expires.trim()];
  const wrong = new Map<ShareField, string>();
  if (label !== '' && !LABEL.test(label)) {
    wrong.set('label', trans.__('Up to 64 letters, digits, “.”, “_” and “-”'));
  } else if (shares.some(each => each.label === label && isActive(each))) {
    wrong.set('label', trans.__('%1 has a share already', label));
  }
  if (rate !== '' && !isAbove0(RATE, rate)) {
    wrong.set('rate', trans.__('Such as 20/s or 600/min; empty for no limit'));
  }
  if (!isAbove0(EXPIRES, expires)) {
    wrong.set('expires', trans.__('Such as 7d, 12h or 30min'));
  }
  for (const { field, hint, isRight } of moreLimits(trans)) {
    const text = draft[field].trim();
    if (text !== '' && !isRight(text)) {
      wrong.set(field, hint);
    }
  }
  if (wrong.size > 0 || label === '' || draft.model === '') {
    return { terms: null, wrong };
  }
  const atOnce = draft.atOnce.trim();
  const terms = {
    models: [draft.model],
    label,
    rate: rate || null,
    expires,
    row_rate: draft.rowRate.trim() || null,
    quota: draft.quota.trim() || null,
    row_quota: draft.rowQuota.trim() || null,
    max_in_flight: atOnce === '' ? null : Number(atOnce),
    max_body: draft.maxBody.trim() || null,
    version: draft.version.trim() || null,
    metrics: draft.metrics
  };
  return { terms, wrong };
}

function isAbove0(form: RegExp, text: string): boolean {
  return form.test(text) && parseFloat(text) > 0;
}
