import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import type { Missing } from '../../src/service/state';
import {
  missingNotice,
  refusal,
  capitalized,
  classesText,
  circuitNotice,
  provenanceText,
  versionText
} from '../../src/ui/labels';

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
  expect(capitalized('it was told to stop')).toBe('It was told to stop');
  expect(capitalized('')).toBe('');
});

test('a refusal that the panel can force does not say how others force it', () => {
  const request = { name: 'm', path: 'm.onnx' };
  const trouble =
    "the new model of 'm' has other inputs or outputs than version 1. Its callers would break; force=True (--force) replaces it all the same";
  expect(refusal({ request, trouble, forceable: true })).toBe(
    "The new model of 'm' has other inputs or outputs than version 1. Its callers would break."
  );
  const other = 'it is empty';
  expect(refusal({ request, trouble: other, forceable: false })).toBe('It is empty');
});

test('a model says in one line where it came from and how its answers agree', () => {
  const found = {
    source: 'net',
    versions: { torch: '2.13.0', onnxscript: '0.7.2' },
    exported_at: 0,
    notes: ['batch axis free'],
    check: { agrees: true, summary: 'max |diff| 1.4e-7 on 32 rows' }
  };
  expect(provenanceText(trans, found)).toBe(
    'Exported from net (torch 2.13.0, onnxscript 0.7.2) · batch axis free · max |diff| 1.4e-7 on 32 rows'
  );
  const day = new Date(1.7e12).toLocaleDateString();
  const bare = { ...found, versions: {}, notes: [], check: null, exported_at: 1.7e9 };
  expect(provenanceText(trans, bare)).toBe(`Exported from net on ${day}`);
});

test('a circuit breaker that is not closed says so', () => {
  const reason = 'of the last 20 calls 20 failed';
  expect(circuitNotice(trans, { state: 'open', reason, opened: 1 })).toEqual({
    word: 'Circuit open',
    text: 'Calls are refused until it answers again: of the last 20 calls 20 failed'
  });
  expect(circuitNotice(trans, { state: 'half-open', reason, opened: 1 })?.word).toBe(
    'Circuit half-open'
  );
  expect(circuitNotice(trans, { state: 'open', reason, opened: 1, fallback: '3' })?.text).toBe(
    'Version 3 answers until this one does again: of the last 20 calls 20 failed'
  );
  expect(circuitNotice(trans, { state: 'closed', reason: '', opened: 1 })).toBeNull();
  expect(circuitNotice(trans, null)).toBeNull();
});

test('a version is told with its labels and its part of the calls', () => {
  expect(versionText({ version: '1' })).toBe('v1');
  expect(versionText({ version: '1', version_labels: [], weight: 1 })).toBe('v1');
  expect(versionText({ version: '2', version_labels: ['canary', 'next'], weight: 0.125 })).toBe(
    'v2 · canary · next · 12.5 %'
  );
});

test('the columns of an output are told with their classes', () => {
  expect(classesText(trans, { probabilities: ['setosa', 'virginica'] })).toEqual([
    'Columns of probabilities: 0 setosa, 1 virginica'
  ]);
  const many = Array.from({ length: 22 }, (_, i) => String(i));
  expect(classesText(trans, { scores: many })[0]).toMatch(/ 18, 19, 2 more$/);
  expect(classesText(trans, {})).toEqual([]);
});
