import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, test } from 'vitest';
import {
  toLoadTest,
  combinations,
  fieldsOf,
  type ITestDraft,
  NEW_TEST,
  patternOf,
  SWEEPS
} from '../../src/loadtest/loadtestForm';
import { loadForm } from '../fixtures';

const trans = nullTranslator.load('');

interface IDiffers extends Partial<Omit<ITestDraft, 'values'>> {
  readonly values?: Partial<ITestDraft['values']>;
}

function draft({ values, ...differs }: IDiffers): ITestDraft {
  return { ...NEW_TEST, ...differs, values: { ...NEW_TEST.values, ...values } };
}

function sent(differs: IDiffers) {
  return toLoadTest(trans, loadForm, draft(differs)).test;
}

function wrong(differs: IDiffers): string[] {
  return [...toLoadTest(trans, loadForm, draft(differs)).wrong.keys()];
}

describe('the form that starts a load test', () => {
  test('is valid as it is at first, except for times, which have no default', () => {
    for (const { kind } of loadForm.patterns) {
      expect(wrong({ kind })).toEqual(kind === 'replay' ? ['replay'] : []);
    }
  });

  test('begins with the first pattern, also where its own is unknown to the server', () => {
    expect(patternOf(loadForm, NEW_TEST).kind).toBe('constant');
    expect(patternOf(loadForm, draft({ kind: 'chaos' })).kind).toBe('constant');
  });

  test('asks for the options of its pattern, and for no others', () => {
    const rest = { rows: '1', warm_up: '1s' };
    expect(sent({})).toEqual({ rate: '200', duration: '10s', ...rest });
    expect(sent({ kind: 'users' })).toEqual({ users: '32', think: '0', duration: '10s', ...rest });
    expect(sent({ kind: 'stairs' })).toEqual({ step: '50:50', every: '3s', ...rest });
    expect(sent({ kind: 'replay', texts: { replay: ' 0\n0.5\n2 ' } })).toEqual({
      replay: '0\n0.5\n2',
      speed: '1',
      ...rest
    });
    expect(sent({ kind: 'search' })).toEqual({ slo: 'p99<20ms', duration: '10s', ...rest });
  });

  test('has two fields for a pair', () => {
    const { fields } = patternOf(loadForm, draft({ kind: 'stairs' }));
    const texts = { 'step.1': '25' };
    expect(fieldsOf(fields, draft({ texts })).map(each => [each.label, each.text])).toEqual([
      ['First', '50'],
      ['Added', '25'],
      ['Length of a stair', '3s']
    ]);
    expect(sent({ kind: 'stairs', texts })['step']).toBe('50:25');
  });

  test('sends a flag only with a pattern that has it', () => {
    expect(sent({ flags: ['poisson'] })['poisson']).toBe(true);
    expect(sent({ flags: ['poisson'], kind: 'users' })['poisson']).toBeUndefined();
  });

  test('keeps what was typed when the pattern changes, and ignores spaces', () => {
    const texts = { rate: ' 2.5 ', duration: ' 2 m ' };
    expect(sent({ texts })).toMatchObject({ rate: '2.5', duration: '2 m' });
    expect(sent({ texts, kind: 'users' })).toMatchObject({ duration: '2 m' });
  });

  test.each([
    [{ texts: { rate: '' } }, 'rate'],
    [{ texts: { rate: '0' } }, 'rate'],
    [{ texts: { rate: '-3' } }, 'rate'],
    [{ texts: { rate: '1e9' } }, 'rate'],
    [{ texts: { duration: '0s' } }, 'duration'],
    [{ texts: { duration: '10' } }, 'duration'],
    [{ texts: { duration: 'soon' } }, 'duration'],
    [{ kind: 'users', texts: { users: '2.5' } }, 'users'],
    [{ kind: 'stairs', texts: { 'step.1': 'more' } }, 'step.1'],
    [{ kind: 'stairs', texts: { every: '' } }, 'every'],
    [{ kind: 'search', texts: { slo: '  ' } }, 'slo'],
    [{ texts: { rows: '0' } }, 'rows'],
    [{ texts: { warm_up: '-1s' } }, 'warm_up'],
    [{ swept: ['batch'], values: { batch: '1:0' } }, 'batch'],
    [{ swept: ['queue'], values: { queue: 'many' } }, 'queue'],
    [{ swept: ['delay'], values: { delay: '0:5' } }, 'delay'],
    [{ swept: ['instances'], values: { instances: '1.5' } }, 'instances']
  ] as [IDiffers, string][])('says where %o is not valid', (differs, field) => {
    expect(wrong(differs)).toEqual([field]);
  });

  test('says which values are valid', () => {
    const { wrong } = toLoadTest(trans, loadForm, draft({ texts: { rate: '0', rows: 'x' } }));
    expect(wrong.get('rate')).toBe('A number, above 0');
    expect(wrong.get('rows')).toBe('A whole number, 1 or more');
  });

  test('is judged by the fields that are shown', () => {
    expect(wrong({ kind: 'users', texts: { rate: 'nonsense' } })).toEqual([]);
    expect(wrong({ texts: { warm_up: '0' } })).toEqual([]);
  });

  test('tries settings as the command line names them, with values or without', () => {
    expect(sent({ swept: ['batch'] })['sweep']).toBe('batch');
    expect(
      sent({ swept: ['delay', 'batch'], values: { batch: '1:8', delay: ' 0, 2ms ' } })['sweep']
    ).toBe('batch=1:8,delay=0:2ms');
    expect(sent({ swept: [...SWEEPS], values: { queue: '16:64' } })['sweep']).toBe(
      'batch,delay,instances,queue=16:64'
    );
    expect(sent({ values: { batch: '1:8' } })['sweep']).toBeUndefined();
    expect(wrong({ values: { batch: 'nonsense' } })).toEqual([]);
  });

  test('tries no settings while it searches a limit', () => {
    expect(sent({ kind: 'search', swept: ['batch'] })['sweep']).toBeUndefined();
  });

  test('counts the tests of a sweep where the values are named', () => {
    const swept = ['batch', 'delay'] as const;
    expect(combinations(draft({ swept, values: { batch: '1:8:32', delay: '0:2ms' } }))).toBe(6);
    expect(combinations(draft({ swept, values: { batch: '1:8:32' } }))).toBeNull();
  });
});
