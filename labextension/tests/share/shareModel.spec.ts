import { describe, expect, test } from 'vitest';
import { Shares } from '../../src/share/shareModel';
import type { IShare } from '../../src/service/shareWire';
import { share } from '../fixtures';

/** A server whose answers come when they are let out. */
function server() {
  const asked: string[] = [];
  const answers: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  const ask =
    (verb: string) =>
    <T>(path: string) => {
      asked.push(`${verb} ${path}`);
      return new Promise<T>((resolve, reject) =>
        answers.push({ resolve: resolve as (value: unknown) => void, reject })
      );
    };
  const shares = new Shares({ get: ask('GET'), post: ask('POST'), remove: ask('DELETE') });
  return { shares, asked, answers };
}

const LIST = 'GET api/shares?no_track_activity=1';
const TERMS = {
  models: ['digits'],
  label: 'team-a',
  rate: null,
  expires: '7d',
  row_rate: null,
  quota: null,
  row_quota: null,
  max_in_flight: null,
  max_body: null,
  version: null,
  metrics: false
};

describe('shares', () => {
  test('of two answers the one asked for last holds', async () => {
    const { shares, answers } = server();
    const first = shares.refresh();
    const second = shares.refresh();
    answers[1]?.resolve([share({ label: 'new' })]);
    await second;
    answers[0]?.resolve([share({ label: 'old' })] satisfies IShare[]);
    await first;
    expect(shares.all?.map(({ label }) => label)).toEqual(['new']);
  });

  test('stay known while the service does not answer, which is said', async () => {
    const { shares, answers } = server();
    const first = shares.refresh();
    answers[0]?.resolve([share()]);
    await first;
    const second = shares.refresh();
    answers[1]?.reject(new Error('away'));
    await second;
    expect([shares.all?.length, shares.trouble]).toEqual([1, 'away']);
  });

  test('are listed anew when one was made', async () => {
    const { shares, asked, answers } = server();
    const made = shares.share(TERMS);
    answers[0]?.resolve({ id: 's1', label: 'team-a', link: 'http://here/#c' });
    expect((await made).link).toBe('http://here/#c');
    expect(asked).toEqual(['POST api/shares', LIST]);
  });

  test('are listed anew when one could not be revoked, too', async () => {
    const { shares, asked, answers } = server();
    const revoked = shares.revoke('a/b');
    answers[0]?.reject(new Error('the disk is full'));
    await expect(revoked).rejects.toThrow('the disk is full');
    expect(asked).toEqual(['DELETE api/shares/a%2Fb', LIST]);
  });
});
