import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import type { Missing } from '../src/state';
import { missingNotice, sentence } from '../src/words';

const trans = nullTranslator.load('infer_workbench');

test.each<[Missing, RegExp]>([
  ['absent', /server extension is not running/],
  ['forbidden', /does not let you in/],
  ['foreign', /else answered/],
  ['incompatible', /versions do not fit/]
])('what is missing (%s) has a title and says what to do', (why, title) => {
  const notice = missingNotice(trans, { kind: 'missing', why, message: '9.0.0' }, true, '0.1.0');
  expect(notice.title).toMatch(title);
  expect(notice.text).toMatch(/restart Jupyter|reload the page/i);
});

test('both versions are named where they do not fit', () => {
  const link = { kind: 'missing', why: 'incompatible', message: '9.0.0' } as const;
  expect(missingNotice(trans, link, true, '0.1.0').text).toMatch(/0\.1\.0.*9\.0\.0/);
});

test('where there is no Jupyter server, nothing else is blamed', () => {
  const link = { kind: 'missing', why: 'absent', message: '' } as const;
  expect(missingNotice(trans, link, false, '0.1.0').title).toBe('A Jupyter server is needed');
});

test('a reason begins with a capital', () => {
  expect(sentence('none was started yet')).toBe('None was started yet');
  expect(sentence('')).toBe('');
});
