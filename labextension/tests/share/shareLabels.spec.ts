import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import { linkWords, shareFigures, shareState, shareTermsText } from '../../src/share/shareLabels';
import type { IShare } from '../../src/service/wire';
import { share } from '../fixtures';

const trans = nullTranslator.load('');

const noon = new Date(2026, 4, 4, 12, 0, 5).getTime() / 1000;
const later = new Date(2026, 4, 11, 9, 30).getTime() / 1000;

test('a share says what it is for, and until when', () => {
  const words = (differs: Partial<IShare>) =>
    shareTermsText(trans, share({ expires_at: later, ...differs }), noon);
  const until = ' · until 2026-05-11 09:30';
  expect(words({})).toBe(`digits · 20/s · 16 at once${until}`);
  expect(words({ rate: null, models: ['digits', 'iris'], state: 'unclaimed' })).toBe(
    `digits, iris · no rate limit · 16 at once${until}`
  );
  expect(words({ row_rate: 2000, max_in_flight: 4 })).toBe(
    `digits · 20/s · 2,000 rows/s · 4 at once${until}`
  );
  expect(words({ state: 'expired' })).toContain(' · ended 2026-05-11 09:30');
  expect(words({ state: 'revoked', revoked_at: noon })).toContain(' · ended 12:00:05');
});

test('a share says whether it can be used, and its link', () => {
  const unclaimed = share({ state: 'unclaimed', created_at: 1000 });
  expect(shareState(trans, unclaimed, 1000 + 3599)).toEqual(['off', 'Link not used yet']);
  const [tone, word] = shareState(trans, unclaimed, 1000 + 3600);
  expect([tone, word.split(':')[0]]).toEqual(['bad', 'Link ran out unused']);
  expect(shareState(trans, share(), 1e9)).toEqual(['good', 'Active']);
  expect(shareState(trans, share({ state: 'expired' }), 1e9)).toEqual(['off', 'Expired']);
});

test('a new link says what became of it', () => {
  const words = ([undefined, 'unclaimed', 'holds', 'revoked', 'expired'] as const).map(state =>
    linkWords(trans, 'team-a', state)
  );
  expect(words[0]).toContain('Send this link to team-a');
  expect(words[1]).toBe(words[0]);
  expect(words[2]).toContain('team-a has the token');
  expect(words[3]).toContain('has ended');
  expect(words[4]).toBe(words[3]);
});

test('the use of a share: a moment of today is a time, and none is a dash', () => {
  expect(
    Object.fromEntries(shareFigures(trans, share({ requests: 1234, last_seen: noon }), noon))
  ).toEqual({ Requests: '1,234', Refused: '0', 'First call': '–', 'Last seen': '12:00:05' });
  expect(shareFigures(trans, share({ state: 'unclaimed' }), noon)).toEqual([]);
});
