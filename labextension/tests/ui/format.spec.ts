import { describe, expect, test } from 'vitest';
import {
  address,
  bytes,
  clock,
  duration,
  logLine,
  processor,
  progress,
  rate,
  share
} from '../../src/ui/format';

describe('duration', () => {
  test.each([
    [null, '–'],
    [undefined, '–'],
    [Number.NaN, '–'],
    [0, '0 ms'],
    [0.000012, '12 µs'],
    [0.00085, '850 µs'],
    [0.9999e-3, '1 ms'],
    [0.0012345, '1.23 ms'],
    [0.0123, '12.3 ms'],
    [0.1234, '123 ms'],
    [0.99949, '999 ms'],
    [0.9999, '1 s'],
    [1.5, '1.5 s'],
    [90, '90 s'],
    [180, '3 min']
  ])('%s is %s', (seconds, words) => {
    expect(duration(seconds)).toBe(words);
  });
});

describe('rate', () => {
  test.each([
    [null, '–'],
    [0, '0'],
    [0.04, '0'],
    [0.25, '0.3'],
    [9.94, '9.9'],
    [9.96, '10'],
    [123.4, '123'],
    [1234, '1,234'],
    [12345, '12.3 k']
  ])('%s is %s', (perSecond, words) => {
    expect(rate(perSecond)).toBe(words);
  });
});

describe('bytes', () => {
  test.each([
    [undefined, '–'],
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [85_300_000, '85.3 MB'],
    [999_999_999, '1 GB'],
    [141_000_000_000_000, '141 TB']
  ])('%s is %s', (count, words) => {
    expect(bytes(count)).toBe(words);
  });
});

test('processor time is a share of one core', () => {
  expect(processor(0.424)).toBe('42 %');
  expect(processor(2)).toBe('200 %');
  expect(processor(null)).toBe('–');
});

test.each([
  ['http://127.0.0.1:39183', '127.0.0.1', ':39183'],
  ['http://[::1]:8080', '[::1]', ':8080'],
  ['https://models.example/', 'models.example', ''],
  ['', '', '']
])('%s is the address %s and %s', (url, host, port) => {
  expect(address(url)).toEqual([host, port]);
});

test('errors are a share of the requests', () => {
  expect(share(undefined, 1)).toBe('–');
  expect(share(0, 0)).toBe('0 %');
  expect(share(0, 10)).toBe('0 %');
  expect(share(0.0001, 10)).toBe('0.1 %');
  expect(share(0.33, 10)).toBe('3.3 %');
  expect(share(5, 10)).toBe('50 %');
  expect(share(5, 4)).toBe('100 %');
});

test('how far a restore has come is read from its words', () => {
  expect(progress('restoring models, 3 of 20 done')).toEqual([3, 20]);
  expect(progress('restoring models')).toBeNull();
  expect(progress('0 of 0')).toBeNull();
});

test('times of day are of the place where one looks', () => {
  const noon = new Date(2026, 10, 21, 12, 3, 4, 56).getTime() / 1000;
  expect(clock(noon, 'minutes')).toBe('12:03');
  expect(clock(noon, 'seconds')).toBe('12:03:04');
  expect(clock(noon, 'milliseconds')).toBe('12:03:04.056');
});

test('a line of the log has the time of day, and its level where that matters', () => {
  const time = clock(Date.UTC(2026, 10, 21, 19, 41, 47) / 1000);
  expect(logLine('2026-11-21T19:41:47.310Z INFO     workbench.serve: up')).toBe(
    `${time} workbench.serve: up`
  );
  expect(logLine('2026-11-21T19:41:47.310Z WARNING  workbench.serve: slow')).toBe(
    `${time} WARNING workbench.serve: slow`
  );
  expect(logLine('Traceback (most recent call last):')).toBe('Traceback (most recent call last):');
});
