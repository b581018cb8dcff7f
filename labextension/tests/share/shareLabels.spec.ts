import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import {
  linkWords,
  modelUses,
  shareFigures,
  shareState,
  shareTermsText,
  suspensions
} from '../../src/share/shareLabels';
import type { IShare } from '../../src/service/shareWire';
import { share, shareUse } from '../fixtures';

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
  expect(words({ version: '3', max_body: 65_536, metrics: true })).toBe(
    `digits v3 · 20/s · 16 at once · bodies up to 65.5 kB · metrics${until}`
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

test('a share says what it may not call any more, while it holds', () => {
  const kept = { suspended: { digits: 'its requests ended the service 2 times' } };
  expect(suspensions(trans, share(kept))).toEqual([
    'May not call digits any more: its requests ended the service 2 times. It may again once you load digits.'
  ]);
  expect(suspensions(trans, share({ ...kept, state: 'revoked' }))).toEqual([]);
  expect(suspensions(trans, share())).toEqual([]);
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
  const used = share({
    ...shareUse({ errors: 1, rows: 12345, p50_s: 0.0012, request_bytes: 85_300 }),
    requests: 1234,
    last_seen: noon
  });
  expect(Object.fromEntries(shareFigures(trans, used, noon))).toEqual({
    Requests: '1,234',
    Refused: '0',
    Errors: '1',
    Rows: '12,345',
    p50: '1.2 ms',
    p99: '–',
    'Bytes in': '85.3 kB',
    'Bytes out': '0 B',
    'First call': '–',
    'Last seen': '12:00:05'
  });
  expect(shareFigures(trans, share({ state: 'unclaimed' }), noon)).toEqual([]);
});

test('a share with a quota says what it has used of it today', () => {
  const quotas = { quota: 10_000, day_requests: 1234, row_quota: 1_000_000, day_rows: 5 };
  expect(shareFigures(trans, share(quotas), noon).slice(-2)).toEqual([
    ['Today', '1,234 of 10,000'],
    ['Rows today', '5 of 1,000,000']
  ]);
});

test('a share of several models says what each has answered', () => {
  const models = ['digits', 'iris', 'never'];
  const byModel = {
    iris: shareUse({ answered: 3 }),
    digits: shareUse({ answered: 1200, p99_s: 0.0032 })
  };
  expect(modelUses(trans, share({ models, by_model: byModel }))).toEqual([
    'digits: 1,200 answered, p99 3.2 ms',
    'iris: 3 answered, p99 –'
  ]);
  expect(modelUses(trans, share({ by_model: byModel }))).toEqual([]);
});
