/** The form that makes a share. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { groupByModel } from '../service/groupByModel';
import type { IModelStatus, IShare, IShareTerms } from '../service/wire';

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
}

export const NEW_SHARE: IShareDraft = {
  model: '',
  label: '',
  rate: '20/s',
  expires: '7d',
  rowRate: '',
  quota: '',
  rowQuota: '',
  atOnce: ''
};

/** The fields that are folded away; an empty one asks for the default. */
export const MORE_LIMITS = ['rowRate', 'quota', 'rowQuota', 'atOnce'] as const;

const LABEL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const RATE = /^\d{1,12}(\.\d{1,12})?\s*(\/\s*(s|min|m|h))?$/;
const EXPIRES = /^\d+(\.\d+)?\s*(s|min|m|h|d)$/;
const QUOTA = /^\d{1,13}\s*(\/\s*(d|day))?$/;
const COUNT = /^\d{1,12}$/;

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
): { terms: IShareTerms | null; wrong: ReadonlyMap<keyof IShareDraft, string> } {
  const label = draft.label.trim();
  const rate = draft.rate.trim();
  const expires = draft.expires.trim();
  const rowRate = draft.rowRate.trim();
  const quota = draft.quota.trim();
  const rowQuota = draft.rowQuota.trim();
  const atOnce = draft.atOnce.trim();
  const wrong = new Map<keyof IShareDraft, string>();
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
  if (rowRate !== '' && !isAbove0(RATE, rowRate)) {
    wrong.set('rowRate', trans.__('Such as 2000/s; empty for no limit'));
  }
  for (const [key, text] of [
    ['quota', quota],
    ['rowQuota', rowQuota]
  ] as const) {
    if (text !== '' && !isAbove0(QUOTA, text)) {
      wrong.set(key, trans.__('A whole number, such as 10000; empty for no limit'));
    }
  }
  if (atOnce !== '' && !isAbove0(COUNT, atOnce)) {
    wrong.set('atOnce', trans.__('A whole number; empty for the default'));
  }
  const terms =
    wrong.size === 0 && label !== '' && draft.model !== ''
      ? {
          models: [draft.model],
          label,
          rate: rate || null,
          expires,
          row_rate: rowRate || null,
          quota: quota || null,
          row_quota: rowQuota || null,
          max_in_flight: atOnce === '' ? null : Number(atOnce)
        }
      : null;
  return { terms, wrong };
}

function isAbove0(form: RegExp, text: string): boolean {
  return form.test(text) && parseFloat(text) > 0;
}
