/** The form that makes a share. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IShare, IShareTerms } from '../service/wire';

/** As typed. */
export interface IShareDraft {
  readonly label: string;
  readonly rate: string;
  readonly expires: string;
}

export const NEW_SHARE: IShareDraft = { label: '', rate: '20/s', expires: '7d' };

const LABEL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const RATE = /^\d{1,12}(\.\d{1,12})?\s*(\/\s*(s|min|m|h))?$/;
const EXPIRES = /^\d+(\.\d+)?\s*(s|min|m|h|d)$/;

/** Whether a share's token, or the link that gives it, can be used. */
export function isActive(share: IShare): boolean {
  return share.state === 'unclaimed' || share.state === 'holds';
}

/**
 * Reads the form. An empty label is no error, but there are no terms without one.
 *
 * @param shares - those that exist: one that is active has its label alone
 * @returns the terms to ask for, null if there are none; and what is wrong, by field
 */
export function toShareTerms(
  trans: TranslationBundle,
  model: string,
  draft: IShareDraft,
  shares: readonly IShare[]
): { terms: IShareTerms | null; wrong: ReadonlyMap<keyof IShareDraft, string> } {
  const label = draft.label.trim();
  const rate = draft.rate.trim();
  const expires = draft.expires.trim();
  const wrong = new Map<keyof IShareDraft, string>();
  if (label !== '' && !LABEL.test(label)) {
    wrong.set('label', trans.__('Up to 64 letters, digits, “.”, “_” and “-”'));
  } else if (shares.some(each => each.label === label && isActive(each))) {
    wrong.set('label', trans.__('%1 has a share already', label));
  }
  if (rate !== '' && (!RATE.test(rate) || parseFloat(rate) === 0)) {
    wrong.set('rate', trans.__('Such as 20/s or 600/min; empty for no limit'));
  }
  if (!EXPIRES.test(expires) || parseFloat(expires) === 0) {
    wrong.set('expires', trans.__('Such as 7d, 12h or 30min'));
  }
  const terms =
    wrong.size === 0 && label !== '' && model !== ''
      ? { models: [model], label, rate: rate || null, expires }
      : null;
  return { terms, wrong };
}
