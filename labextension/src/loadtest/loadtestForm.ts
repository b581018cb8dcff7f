/** The form that starts a load test: its fields, and the request made of them. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { ILoadTest } from '../service/wire';

/** How requests arrive. */
export const KINDS = ['rate', 'users', 'ramp', 'step', 'limit'] as const;

export type Kind = (typeof KINDS)[number];

/** Settings of the model that a sweep can try, as `--sweep` names them. */
export const SWEEPS = ['batch', 'delay', 'instances', 'queue'] as const;

export type Sweep = (typeof SWEEPS)[number];

/** The fields as typed. */
export interface ITestDraft {
  readonly kind: Kind;
  readonly rate: string;
  readonly poisson: boolean;
  readonly users: string;
  readonly from: string;
  readonly to: string;
  readonly step: string;
  readonly every: string;
  readonly duration: string;
  readonly slo: string;
  readonly rows: string;
  readonly warm_up: string;
  /** The settings that the sweep varies. */
  readonly swept: readonly Sweep[];
  /** The values of each, as 1:8:32; empty for usual ones. */
  readonly batch: string;
  readonly delay: string;
  readonly instances: string;
  readonly queue: string;
}

export const NEW_TEST: ITestDraft = {
  kind: 'rate',
  rate: '100',
  poisson: false,
  users: '8',
  from: '10',
  to: '200',
  step: '50',
  every: '3s',
  duration: '10s',
  slo: 'p99<20ms',
  rows: '1',
  warm_up: '1s',
  swept: [],
  batch: '',
  delay: '',
  instances: '',
  queue: ''
};

export type Field = Exclude<keyof ITestDraft, 'kind' | 'poisson' | 'swept'>;

/** The fields of a kind, in the order in which they are shown. */
export function fieldsOf(kind: Kind): readonly Field[] {
  switch (kind) {
    case 'rate':
      return ['rate', 'duration'];
    case 'users':
      return ['users', 'duration'];
    case 'ramp':
      return ['from', 'to', 'duration'];
    case 'step':
      return ['step', 'every'];
    case 'limit':
      return ['slo', 'duration'];
  }
}

export const OPTIONS: readonly Field[] = ['rows', 'warm_up'];

/** The settings that the test varies; a search for a limit varies none. */
export function sweepsOf({ kind, swept }: ITestDraft): readonly Sweep[] {
  return kind === 'limit' ? [] : SWEEPS.filter(each => swept.includes(each));
}

/** The number of tests in a sweep; null if it depends on the current settings. */
export function combinations(draft: ITestDraft): number | null {
  const counts = sweepsOf(draft).map(each => valuesOf(draft[each]).length);
  return counts.includes(0) ? null : counts.reduce((all, each) => all * each, 1);
}

/** The request to send, and the error messages by field. The server checks the rest. */
export function toLoadTest(
  trans: TranslationBundle,
  draft: ITestDraft
): { readonly test: ILoadTest; readonly wrong: ReadonlyMap<Field, string> } {
  const wrong = new Map<Field, string>();
  const check = (field: Field, fits: boolean, words: string) => {
    if (!fits) {
      wrong.set(field, words);
    }
  };
  const sweeps = sweepsOf(draft);
  for (const field of [...fieldsOf(draft.kind), ...OPTIONS, ...sweeps]) {
    const text = draft[field].trim();
    switch (field) {
      case 'duration':
      case 'every':
        check(field, isTime(text) && parseFloat(text) > 0, trans.__('A time, as 10s or 2m'));
        break;
      case 'warm_up':
        check(field, isTime(text), trans.__('A time, as 1s or 500ms; 0 for none'));
        break;
      case 'rows':
      case 'users':
        check(field, /^[1-9]\d{0,5}$/.test(text), trans.__('A whole number, 1 or more'));
        break;
      case 'batch':
      case 'instances':
      case 'queue':
        check(
          field,
          valuesOf(text).every(each => /^[1-9]\d*$/.test(each)),
          trans.__('Whole numbers, as 1:8:32; nothing for usual ones')
        );
        break;
      case 'delay':
        check(
          field,
          valuesOf(text).every(each => each === '0' || /^\d+(\.\d+)?(us|ms|s)$/.test(each)),
          trans.__('Times, as 0:1ms:5ms; nothing for usual ones')
        );
        break;
      case 'slo':
        check(field, text !== '', trans.__('What must hold, as p99<20ms,errors<0.1%'));
        break;
      default:
        check(field, isNumber(text) && Number(text) > 0, trans.__('A number above 0'));
    }
  }
  const { kind, rate, users, from, to, step, every, duration, slo, rows, warm_up } = draft;
  const how: ILoadTest =
    kind === 'rate'
      ? { rate: Number(rate) }
      : kind === 'users'
        ? { users: Number(users) }
        : kind === 'ramp'
          ? { ramp: `${from.trim()}:${to.trim()}` }
          : kind === 'step'
            ? { step: Number(step), every: every.trim() }
            : { slo: slo.trim() };
  const poisson = draft.poisson && kind === 'rate' ? { poisson: true } : {};
  const time = kind === 'step' ? {} : { duration: duration.trim() };
  const rest = { rows: Number(rows), warm_up: warm_up.trim() };
  const sweep = sweeps.length === 0 ? {} : { sweep: sweeps.map(each => said(draft, each)).join() };
  return { test: { ...how, ...poisson, ...time, ...sweep, ...rest }, wrong };
}

/** A setting and its values, as `--sweep` takes them. */
function said(draft: ITestDraft, sweep: Sweep): string {
  return [sweep, ...[valuesOf(draft[sweep]).join(':')].filter(values => values !== '')].join('=');
}

/** Splits values at colons, as on the command line, or at commas. */
function valuesOf(text: string): readonly string[] {
  return text.split(/[\s:,]+/).filter(each => each !== '');
}

function isNumber(text: string): boolean {
  return /^\d+(\.\d+)?$/.test(text);
}

function isTime(text: string): boolean {
  return /^\d+(\.\d+)?\s*(us|ms|s|m)?$/.test(text);
}
