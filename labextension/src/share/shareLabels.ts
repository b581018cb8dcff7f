/** Texts of shares. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IShare } from '../service/shareWire';
import * as format from '../ui/format';
import type { Tone } from '../ui/labels';
import { isActive } from './shareForm';

/** For how long the link of a share can be used, in seconds. */
const LINK_S = 3600;

/** Whether and how a share can be used. `now` is in Unix seconds. */
export function shareState(
  trans: TranslationBundle,
  { state, created_at }: IShare,
  now: number
): [tone: Tone, word: string] {
  switch (state) {
    case 'unclaimed':
      return now < created_at + LINK_S
        ? ['off', trans.__('Link not used yet')]
        : ['bad', trans.__('Link ran out unused: revoke, and share again')];
    case 'holds':
      return ['good', trans.__('Active')];
    case 'revoked':
      return ['off', trans.__('Revoked')];
    case 'expired':
      return ['off', trans.__('Expired')];
  }
}

/** What to do with the link of a new share. `state` is that of the share, undefined where it is not known. */
export function linkWords(
  trans: TranslationBundle,
  label: string,
  state: IShare['state'] | undefined
): string {
  switch (state) {
    case 'holds':
      return trans.__('%1 has the token: the link was used.', label);
    case 'revoked':
    case 'expired':
      return trans.__('The share of %1 has ended, and its link with it.', label);
    default:
      return trans.__(
        'Send this link to %1. It gives the token once, within an hour, and is not shown again.',
        label
      );
  }
}

/**
 * What a share is for, and its end: "digits · 20/s · 2,000 rows/s · 16 at once · until 2026-05-11 09:30".
 * `now` is in Unix seconds, as below.
 */
export function shareTermsText(trans: TranslationBundle, share: IShare, now: number): string {
  const { models, version, rate, row_rate: rowRate, max_in_flight: atOnce } = share;
  const end = format.moment(share.revoked_at ?? share.expires_at, now);
  const words = [
    models.join(', ') + (version === null ? '' : ` v${version}`),
    rate === null ? trans.__('no rate limit') : trans.__('%1/s', format.rate(rate)),
    ...(rowRate === null ? [] : [trans.__('%1 rows/s', format.rate(rowRate))]),
    trans.__('%1 at once', atOnce),
    ...(share.max_body === null ? [] : [trans.__('bodies up to %1', format.bytes(share.max_body))]),
    ...(share.metrics ? [trans.__('metrics')] : []),
    isActive(share) ? trans.__('until %1', end) : trans.__('ended %1', end)
  ];
  return words.join(' · ');
}

/** The models that a share is kept from, why, and what ends that; nothing once it has ended itself. */
export function suspensions(trans: TranslationBundle, share: IShare): readonly string[] {
  if (!isActive(share)) {
    return [];
  }
  return Object.entries(share.suspended).map(([name, why]) =>
    trans.__('May not call %1 any more: %2. It may again once you load %1.', name, why)
  );
}

/** The use of a share; nothing while its token was not claimed. */
export function shareFigures(
  trans: TranslationBundle,
  share: IShare,
  now: number
): readonly (readonly [name: string, words: string])[] {
  if (share.state === 'unclaimed') {
    return [];
  }
  const quotas = [
    [trans.__('Today'), share.day_requests, share.quota],
    [trans.__('Rows today'), share.day_rows, share.row_quota]
  ] as const;
  return [
    [trans.__('Requests'), count(share.requests)],
    [trans.__('Refused'), count(share.refused)],
    [trans.__('Errors'), count(share.errors)],
    [trans.__('Rows'), count(share.rows)],
    ['p50', format.duration(share.p50_s)],
    ['p99', format.duration(share.p99_s)],
    [trans.__('Bytes in'), format.bytes(share.request_bytes)],
    [trans.__('Bytes out'), format.bytes(share.response_bytes)],
    [trans.__('First call'), format.moment(share.first_call_at, now)],
    [trans.__('Last seen'), format.moment(share.last_seen, now)],
    ...quotas.flatMap(([name, used, quota]) =>
      quota === null ? [] : [[name, trans.__('%1 of %2', count(used), count(quota))] as const]
    )
  ];
}

/** What was answered by each of several models: "digits: 12 answered, p99 3.2 ms"; nothing for one. */
export function modelUses(trans: TranslationBundle, share: IShare): readonly string[] {
  if (share.models.length < 2) {
    return [];
  }
  return share.models.flatMap(name => {
    const use = share.by_model[name];
    return use === undefined
      ? []
      : [
          trans.__('%1: %2 answered, p99 %3', name, count(use.answered), format.duration(use.p99_s))
        ];
  });
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}
