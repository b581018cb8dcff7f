import { expect, test } from 'vitest';
import { isURL, nameOf, EMPTY_DRAFT, withName, withPath } from '../../src/forms/loadModelForm';

test('the name follows the path until one is typed, and again where that is deleted', () => {
  const followed = withPath(EMPTY_DRAFT, 'models/digits.onnx');
  expect(nameOf(followed)).toBe('digits');
  const typed = withName(followed, 'mine');
  expect(nameOf(withPath(typed, 'models/other.onnx'))).toBe('mine');
  expect(nameOf(withName(typed, ''))).toBe('digits');
});

test('a name that is typed before the path stays', () => {
  expect(nameOf(withPath(withName(EMPTY_DRAFT, 'mine'), 'digits.onnx'))).toBe('mine');
});

test('after a refusal another path brings another name, unless one is typed anew', () => {
  const typed = withName(withPath(EMPTY_DRAFT, 'empty.onnx'), 'm1');
  const refused = { ...typed, refused: 'm1' };
  expect(nameOf(refused)).toBe('m1');
  const next = withPath(refused, 'digits.onnx');
  expect(nameOf(next)).toBe('digits');
  expect(nameOf(withPath(withName(next, 'm2'), 'iris.onnx'))).toBe('m2');
});

test.each([
  ['https://example.org/digits.onnx', true],
  [' S3://bucket/digits.onnx', true],
  ['models/digits.onnx', false],
  ['drive:models/digits.onnx', false],
  ['/home/me/digits.onnx', false],
  ['C:\\models\\digits.onnx', false]
])('%s is a URL: %s', (path, url) => {
  expect(isURL(path)).toBe(url);
});
