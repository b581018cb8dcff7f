/** The wait before a retry. Pure: the random number is an argument. */

export const FIRST_MS = 500;
export const LONGEST_MS = 10_000;

/**
 * Milliseconds to wait after the `failures`-th failure in a row (from 1): doubling, and spread over the upper half
 * so that the pages of one restarted server do not all reconnect at once.
 *
 * @param chance - in [0, 1)
 */
export function backoff(failures: number, chance: number): number {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 16));
  return Math.max(FIRST_MS, most * (0.5 + chance / 2));
}
