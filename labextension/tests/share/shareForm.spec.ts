import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, test } from 'vitest';
import {
  countLimits,
  moreLimits,
  NEW_SHARE,
  shareableModels,
  toShareTerms
} from '../../src/share/shareForm';
import { model, share } from '../fixtures';

const trans = nullTranslator.load('');
const typed = { ...NEW_SHARE, model: 'digits', label: 'team-a' };

describe('the form of a share', () => {
  test('asks for what is typed', () => {
    const { terms, wrong } = toShareTerms(trans, typed, []);
    expect(wrong.size).toBe(0);
    expect(terms).toEqual({
      models: ['digits'],
      label: 'team-a',
      rate: '20/s',
      expires: '7d',
      row_rate: null,
      quota: null,
      row_quota: null,
      max_in_flight: null,
      max_body: null,
      version: null,
      metrics: false
    });
  });

  test('asks for more limits where they are typed', () => {
    const limits = {
      rowRate: ' 2000/s',
      quota: '10000',
      rowQuota: '1000000/day',
      atOnce: '4 ',
      maxBody: '64 KiB',
      version: 'a.1',
      metrics: true
    };
    const draft = { ...typed, ...limits };
    expect(toShareTerms(trans, draft, []).terms).toMatchObject({
      row_rate: '2000/s',
      quota: '10000',
      row_quota: '1000000/day',
      max_in_flight: 4,
      max_body: '64 KiB',
      version: 'a.1',
      metrics: true
    });
    expect(countLimits(draft, moreLimits(trans))).toBe(7);
    expect(countLimits(typed, moreLimits(trans))).toBe(0);
  });

  test('without a rate there is no limit', () => {
    const { terms } = toShareTerms(trans, { ...typed, rate: ' ' }, []);
    expect(terms?.rate).toBeNull();
  });

  test('without a label or a model nothing is wrong, and nothing can be asked for', () => {
    for (const [model, label] of [
      ['digits', ' '],
      ['', 'team-a']
    ] as const) {
      const { terms, wrong } = toShareTerms(trans, { ...typed, model, label }, []);
      expect(wrong.size).toBe(0);
      expect(terms).toBeNull();
    }
  });

  test.each([
    ['label', 'team a'],
    ['label', '-a'],
    ['label', 'a'.repeat(65)],
    ['rate', '0'],
    ['rate', 'fast'],
    ['rate', '20/d'],
    ['expires', ''],
    ['expires', '7'],
    ['expires', '0d'],
    ['expires', '-1d'],
    ['rowRate', '0/s'],
    ['rowRate', 'many'],
    ['quota', '0'],
    ['quota', '10000/h'],
    ['rowQuota', '1.5'],
    ['atOnce', '0'],
    ['atOnce', '1.5'],
    ['maxBody', '1 MiBs'],
    ['maxBody', '0'],
    ['version', '../1']
  ] as const)('%s is not %j', (field, text) => {
    const { terms, wrong } = toShareTerms(trans, { ...typed, [field]: text }, []);
    expect([...wrong.keys()]).toEqual([field]);
    expect(terms).toBeNull();
  });

  test('takes a label again when its share has ended', () => {
    for (const [state, free] of [
      ['unclaimed', false],
      ['holds', false],
      ['revoked', true],
      ['expired', true]
    ] as const) {
      const { terms } = toShareTerms(trans, typed, [share({ state })]);
      expect(terms !== null).toBe(free);
    }
  });
});

test('the models that answer can be shared, and one for which a label is typed stays', () => {
  const models = [
    model({ name: 'digits' }),
    model({ name: 'iris' }),
    model({ name: 'slow', state: 'Loading' })
  ];
  const chosen = { ...typed, model: 'iris' };
  expect(shareableModels(models, NEW_SHARE)).toEqual(['digits', 'iris']);
  expect(shareableModels(models, chosen)).toEqual(['digits', 'iris']);
  expect(shareableModels(models.slice(0, 1), chosen)).toEqual(['digits', 'iris']);
  expect(shareableModels(models.slice(0, 1), { ...chosen, label: '' })).toEqual(['digits']);
  expect(shareableModels([], NEW_SHARE)).toEqual([]);
});
