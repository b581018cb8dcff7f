/**
 * The form that starts a load test: its fields, and the request made of them. Pure.
 *
 * The server describes the load patterns and their options, so none is named here.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { ILoadForm, ILoadTest, IOption, IPattern } from '../service/loadtestWire';

/** Settings of the model that a sweep can try, as `--sweep` names them. */
export const SWEEPS = ['batch', 'delay', 'instances', 'queue'] as const;

export type Sweep = (typeof SWEEPS)[number];

/** The fields as typed. */
export interface ITestDraft {
  /** The kind of the pattern; empty for the first one. */
  readonly kind: string;
  /** The text of each field that was edited. */
  readonly texts: Readonly<Record<string, string>>;
  /** The options of type `flag` that are checked. */
  readonly flags: readonly string[];
  /** The settings that the sweep varies. */
  readonly swept: readonly Sweep[];
  /** The values of each, as 1:8:32; empty for usual ones. */
  readonly values: Readonly<Record<Sweep, string>>;
}

export const NEW_TEST: ITestDraft = {
  kind: '',
  texts: {},
  flags: [],
  swept: [],
  values: { batch: '', delay: '', instances: '', queue: '' }
};

/** A text field. An option of type `pair` has two. */
export interface IField {
  /** Its key in `ITestDraft.texts`, and in the map of errors. */
  readonly key: string;
  readonly label: string;
  readonly text: string;
  readonly option: IOption;
}

export function patternOf(form: ILoadForm, { kind }: ITestDraft): IPattern {
  return form.patterns.find(each => each.kind === kind) ?? form.patterns[0]!;
}

/** The text fields of some options, in order. */
export function fieldsOf(options: readonly IOption[], { texts }: ITestDraft): readonly IField[] {
  return options
    .filter(({ type }) => type !== 'flag')
    .flatMap(option => {
      const first = option.type === 'pair' ? option.text.split(':') : [option.text];
      return option.labels.map((label, at) => {
        const key = option.labels.length > 1 ? `${option.name}.${at}` : option.name;
        return { key, label, text: texts[key] ?? first[at] ?? first[0]!, option };
      });
    });
}

/** The settings that the test varies; a search for a limit varies none. */
export function sweepsOf(pattern: IPattern, { swept }: ITestDraft): readonly Sweep[] {
  return pattern.sweeps ? SWEEPS.filter(each => swept.includes(each)) : [];
}

/** The number of tests in a sweep; null if it depends on the current settings. */
export function combinations({ swept, values }: ITestDraft): number | null {
  const counts = swept.map(each => valuesOf(values[each]).length);
  return counts.includes(0) ? null : counts.reduce((all, each) => all * each, 1);
}

/** The request to send, and the error messages by field. The server checks the rest. */
export function toLoadTest(
  trans: TranslationBundle,
  form: ILoadForm,
  draft: ITestDraft
): { readonly test: ILoadTest; readonly wrong: ReadonlyMap<string, string> } {
  const wrong = new Map<string, string>();
  const test: Record<string, string | true> = {};
  const pattern = patternOf(form, draft);
  const options = [...pattern.fields, ...form.options];
  for (const { key, text, option } of fieldsOf(options, draft)) {
    const typed = text.trim();
    const error = errorOf(trans, option, typed);
    if (error) {
      wrong.set(key, error);
    }
    const before = test[option.name];
    test[option.name] = before === undefined ? typed : `${before}:${typed}`;
  }
  for (const { name, type } of options) {
    if (type === 'flag' && draft.flags.includes(name)) {
      test[name] = true;
    }
  }
  const sweeps = sweepsOf(pattern, draft);
  for (const each of sweeps) {
    const [isValue, words] =
      each === 'delay'
        ? [/^(0|\d+(\.\d+)?(us|ms|s))$/, trans.__('Times, as 0:1ms:5ms; nothing for usual ones')]
        : [/^[1-9]\d*$/, trans.__('Whole numbers, as 1:8:32; nothing for usual ones')];
    if (!valuesOf(draft.values[each]).every(value => isValue.test(value))) {
      wrong.set(each, words);
    }
  }
  if (sweeps.length > 0) {
    test['sweep'] = sweeps
      .map(each => [each, valuesOf(draft.values[each]).join(':')].filter(Boolean).join('='))
      .join();
  }
  return { test, wrong };
}

/** The error message for a field's text; empty if it is valid. */
function errorOf(trans: TranslationBundle, option: IOption, text: string): string {
  switch (option.type) {
    case 'number':
    case 'pair':
      return isIn(option, decimal(text)) ? '' : trans.__('A number, %1', option.range);
    case 'whole':
      return isIn(option, /^\d+$/.test(text) ? Number(text) : NaN)
        ? ''
        : trans.__('A whole number, %1', option.range);
    case 'duration':
      return isIn(option, seconds(text)) ? '' : trans.__('A time, as 10s or 2m: %1', option.range);
    default:
      return text !== '' ? '' : option.hint;
  }
}

function isIn({ minimum, zero }: IOption, value: number): boolean {
  return zero ? value >= minimum : value > minimum;
}

/** Splits values at colons, as on the command line, or at commas. */
function valuesOf(text: string): readonly string[] {
  return text.split(/[\s:,]+/).filter(each => each !== '');
}

function decimal(text: string): number {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
}

const UNITS: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1, m: 60 };

/** NaN for text without a unit, unless it is 0: the server wants one. */
function seconds(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*(us|ms|s|m)?$/.exec(text) ?? [];
  return decimal(number) * (UNITS[unit] ?? (Number(number) === 0 ? 1 : NaN));
}
