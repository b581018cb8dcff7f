import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, test } from 'vitest';
import {
  changes,
  defaults,
  MODEL_SETTINGS,
  settingLabel,
  formatValue
} from '../../src/forms/modelSettingsForm';

const trans = nullTranslator.load('');
const NOW = { max_batch_size: 64, max_queue_delay_s: 0.002, batch_sizes: [1, 8], device: 'cpu' };

const typed = (values: Record<string, string>, now: Record<string, unknown> = NOW) =>
  changes(trans, new Map(Object.entries(values)), now);

const setting = (name: string) => MODEL_SETTINGS.find(each => each.name === name)!;

test('every setting has its words', () => {
  for (const { name } of MODEL_SETTINGS) {
    expect(settingLabel(trans, name).help).not.toBe('');
  }
});

test('values are shown in the unit of their setting', () => {
  expect(formatValue(setting('max_queue_delay_s'), 0.002)).toBe('2');
  expect(formatValue(setting('max_queue_delay_s'), 0.0003)).toBe('0.3');
  expect(formatValue(setting('batch_sizes'), [1, 8])).toBe('1, 8');
  expect(formatValue(setting('device'), 'cuda:0')).toBe('cuda:0');
});

describe('what is sent', () => {
  test('is only what differs from what is', () => {
    expect(typed({}).settings).toEqual({});
    expect(typed({ max_batch_size: '64', max_queue_delay_s: ' 2.0 ' }).settings).toEqual({});
    expect(typed({ max_batch_size: '32' }).settings).toEqual({ max_batch_size: 32 });
    expect(typed({ instances: '1' }).settings).toEqual({});
  });

  test('may be a size of memory', () => {
    expect(typed({ cache: '64MB' }).settings).toEqual({ cache: '64MB' });
    expect(typed({ cache: 'off' }).settings).toEqual({});
  });

  test('is in seconds where milliseconds were typed', () => {
    expect(typed({ max_queue_delay_s: '0.3' }).settings).toEqual({ max_queue_delay_s: 0.0003 });
  });

  test('is a tidy list of sizes, and a list that is emptied', () => {
    expect(typed({ batch_sizes: '16 4,4' }).settings).toEqual({ batch_sizes: '4, 16' });
    expect(typed({ batch_sizes: '8, 1' }).settings).toEqual({});
    expect(typed({ batch_sizes: '' }).settings).toEqual({ batch_sizes: '' });
  });

  test('needs a reload where one setting does', () => {
    expect(typed({ max_batch_size: '1' }).reloads).toBe(false);
    expect(typed({ max_batch_size: '1', batching: 'never' }).reloads).toBe(true);
  });
});

test.each([
  ['max_batch_size', '0', 'A whole number from 1 to 65536'],
  ['max_batch_size', '1.5', 'A whole number from 1 to 65536'],
  ['max_batch_size', 'many', 'A whole number from 1 to 65536'],
  ['max_queue_delay_s', '10001', 'A number from 0 to 10000'],
  ['max_queue_delay_s', 'NaN', 'A number from 0 to 10000'],
  ['batch_sizes', '1; 8', 'Whole numbers, as 1, 8, 32'],
  ['cache', '64', 'off, or a size as 64MB or 1GiB'],
  ['device', 'gpu', 'auto, cpu, cuda or cuda:1'],
  ['batching', 'maybe', 'One of auto, proved, always, never']
])('%s cannot be %s', (name, text, words) => {
  const { settings, wrong } = typed({ [name]: text });
  expect(settings).toEqual({});
  expect(wrong.get(name)).toBe(words);
});

test('an emptied number is its default', () => {
  expect(typed({ max_batch_size: '' }, { max_batch_size: 8 }).settings).toEqual({
    max_batch_size: 64
  });
});

test('the defaults are what has to be typed to get there', () => {
  const now = { max_batch_size: 8, batch_sizes: [2], device: 'auto' };
  expect(changes(trans, defaults(now), now).settings).toEqual({
    max_batch_size: 64,
    batch_sizes: ''
  });
  expect(defaults({}).size).toBe(0);
});
