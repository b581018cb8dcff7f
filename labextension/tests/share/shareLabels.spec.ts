import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import { shareFigures, shareState, shareTermsText } from '../../src/share/shareLabels';
import { share } from '../fixtures';

const trans = nullTranslator.load('');

test('a share says what it is for', () => {
  expect(shareTermsText(trans, share())).toBe('digits · 20/s · 16 at once');
  expect(shareTermsText(trans, share({ rate: null, models: ['digits', 'iris'] }))).toBe(
    'digits, iris · no rate limit · 16 at once'
  );
});

test('a share says whether it can be used', () => {
  expect(shareState(trans, share({ state: 'unclaimed' }))).toEqual(['busy', 'Link not used yet']);
  expect(shareState(trans, share({ state: 'expired' }))).toEqual(['off', 'Expired']);
});

test('a moment of today is a time, another one has its day, and none is a dash', () => {
  const noon = new Date(2026, 4, 4, 12, 0, 5).getTime() / 1000;
  const later = new Date(2026, 4, 11, 9, 30).getTime() / 1000;
  const words = new Map(
    shareFigures(trans, share({ requests: 1234, last_seen: noon, expires_at: later }), noon)
  );
  expect(Object.fromEntries(words)).toEqual({
    Requests: '1,234',
    Refused: '0',
    'First call': '–',
    'Last seen': '12:00:05',
    Until: '2026-05-11 09:30'
  });
  const ended = new Map(
    shareFigures(trans, share({ state: 'revoked', revoked_at: noon, expires_at: later }), noon)
  );
  expect(ended.get('Ended')).toBe('12:00:05');
  const waiting = shareFigures(trans, share({ state: 'unclaimed', expires_at: later }), noon);
  expect(waiting).toEqual([['Until', '2026-05-11 09:30']]);
});
