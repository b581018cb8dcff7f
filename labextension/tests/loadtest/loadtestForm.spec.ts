import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, test } from 'vitest';
import {
  toLoadTest,
  combinations,
  type Field,
  fieldsOf,
  type ITestDraft,
  KINDS,
  NEW_TEST,
  SWEEPS
} from '../../src/loadtest/loadtestForm';

const trans = nullTranslator.load('');

function sent(differs: Partial<ITestDraft>) {
  return toLoadTest(trans, { ...NEW_TEST, ...differs }).test;
}

function wrong(differs: Partial<ITestDraft>): Field[] {
  return [...toLoadTest(trans, { ...NEW_TEST, ...differs }).wrong.keys()];
}

describe('what is typed to begin a load test', () => {
  test('fits as it is at first, whatever the kind', () => {
    for (const kind of KINDS) {
      expect(wrong({ kind })).toEqual([]);
    }
  });

  test('asks for what its kind needs, and for nothing else', () => {
    const rest = { rows: 1, warm_up: '1s' };
    expect(sent({ kind: 'rate' })).toEqual({ rate: 100, duration: '10s', ...rest });
    expect(sent({ kind: 'users' })).toEqual({ users: 8, duration: '10s', ...rest });
    expect(sent({ kind: 'ramp' })).toEqual({ ramp: '10:200', duration: '10s', ...rest });
    expect(sent({ kind: 'step' })).toEqual({ step: 50, every: '3s', ...rest });
    expect(sent({ kind: 'limit' })).toEqual({ slo: 'p99<20ms', duration: '10s', ...rest });
  });

  test('takes random times for a rate only', () => {
    expect(sent({ poisson: true }).poisson).toBe(true);
    expect(sent({ poisson: true, kind: 'users' }).poisson).toBeUndefined();
  });

  test('forgives spaces', () => {
    expect(sent({ rate: ' 2.5 ', duration: ' 2 m ' })).toMatchObject({
      rate: 2.5,
      duration: '2 m'
    });
  });

  test.each([
    [{ rate: '' }, 'rate'],
    [{ rate: '0' }, 'rate'],
    [{ rate: '-3' }, 'rate'],
    [{ rate: '1e9' }, 'rate'],
    [{ duration: '0s' }, 'duration'],
    [{ duration: 'soon' }, 'duration'],
    [{ kind: 'users', users: '2.5' }, 'users'],
    [{ kind: 'ramp', to: 'more' }, 'to'],
    [{ kind: 'step', every: '' }, 'every'],
    [{ kind: 'limit', slo: '  ' }, 'slo'],
    [{ rows: '0' }, 'rows'],
    [{ warm_up: '-1s' }, 'warm_up'],
    [{ swept: ['batch'], batch: '1:0' }, 'batch'],
    [{ swept: ['queue'], queue: 'many' }, 'queue'],
    [{ swept: ['delay'], delay: '0:5' }, 'delay'],
    [{ swept: ['instances'], instances: '1.5' }, 'instances']
  ] as [Partial<ITestDraft>, Field][])('says where %o does not fit', (differs, field) => {
    expect(wrong(differs)).toEqual([field]);
  });

  test('is judged by what is in sight only', () => {
    expect(wrong({ kind: 'users', rate: 'nonsense' })).toEqual([]);
    expect(fieldsOf('users')).not.toContain('rate');
  });

  test('tries settings as the command line names them, with values or without', () => {
    expect(sent({ swept: ['batch'] }).sweep).toBe('batch');
    expect(sent({ swept: ['delay', 'batch'], batch: '1:8', delay: ' 0, 2ms ' }).sweep).toBe(
      'batch=1:8,delay=0:2ms'
    );
    expect(sent({ swept: [...SWEEPS], queue: '16:64' }).sweep).toBe(
      'batch,delay,instances,queue=16:64'
    );
    expect(sent({ batch: '1:8' }).sweep).toBeUndefined();
    expect(wrong({ batch: 'nonsense' })).toEqual([]);
  });

  test('tries no settings while it searches a limit', () => {
    expect(sent({ kind: 'limit', swept: ['batch'] }).sweep).toBeUndefined();
  });

  test('counts the tests of a sweep where the values are named', () => {
    const draft: ITestDraft = { ...NEW_TEST, swept: ['batch', 'delay'], batch: '1:8:32' };
    expect(combinations({ ...draft, delay: '0:2ms' })).toBe(6);
    expect(combinations(draft)).toBeNull();
  });

  test('takes no warm-up at all', () => {
    expect(wrong({ warm_up: '0' })).toEqual([]);
  });
});
