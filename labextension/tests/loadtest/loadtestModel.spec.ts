import { describe, expect, test } from 'vitest';
import { LoadTests } from '../../src/loadtest/loadtestModel';
import type { IRun } from '../../src/service/loadtestWire';
import { loadForm, run, running } from '../fixtures';

/** A server whose answers come when they are let out. */
function server() {
  const asked: string[] = [];
  const answers: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  const ask = <T>(path: string) => {
    asked.push(path);
    return new Promise<T>((resolve, reject) =>
      answers.push({ resolve: resolve as (value: unknown) => void, reject })
    );
  };
  const tests = new LoadTests({ get: ask, post: ask, text: ask });
  let changes = 0;
  tests.changed.connect(() => (changes += 1));
  const list = async (at: number, ...runs: IRun[]) => {
    answers[at]?.resolve({ runs, notes: [] });
    await Promise.resolve();
    await Promise.resolve();
  };
  return { tests, asked, answers, list, changes: () => changes };
}

describe('load tests', () => {
  test('are not asked for before someone wants to see them', () => {
    const { tests, asked } = server();
    tests.reset();
    tests.update({ running: [running()], changes: 1 });
    expect(asked).toEqual([]);
    expect(tests.running).toHaveLength(1);
    expect(tests.runs).toBeNull();
  });

  test('are asked for again when there are others, and not at each step of one', async () => {
    const { tests, asked, list } = server();
    void tests.refresh();
    await list(0);
    tests.update({ running: [running()], changes: 1 });
    expect(asked).toHaveLength(2);
    await list(1);
    tests.update({ running: [running({ elapsed_s: 2 })], changes: 1 });
    expect(asked).toHaveLength(2);
    tests.update({ running: [], changes: 2 });
    await list(2, run());
    expect(tests.running).toEqual([]);
    expect(tests.runs).toEqual([run()]);
  });

  test('of two answers the one asked for last holds', async () => {
    const { tests, list } = server();
    void tests.refresh();
    void tests.refresh();
    await list(1, run({ run: 'digits-2' }));
    await list(0, run({ run: 'digits-1' }));
    expect(tests.runs?.map(each => each.run)).toEqual(['digits-2']);
  });

  test('keep what was known, and say why, where they cannot be told', async () => {
    const { tests, answers, list } = server();
    void tests.refresh();
    await list(0, run());
    const again = tests.refresh();
    answers[1]?.reject(new Error('the disk is gone'));
    await again;
    expect(tests.trouble).toBe('the disk is gone');
    expect(tests.runs).toHaveLength(1);
    void tests.refresh();
    await list(2);
    expect(tests.trouble).toBe('');
  });

  test('of a connection before are not under way any more', async () => {
    const { tests, asked, list } = server();
    void tests.refresh();
    await list(0);
    tests.update({ running: [running()], changes: 1 });
    tests.reset();
    expect(tests.running).toEqual([]);
    expect(asked).toHaveLength(3);
  });

  test('have a form that is fetched once a connection, and again after an error', async () => {
    const { tests, asked, answers } = server();
    const first = tests.form();
    answers[0]?.reject(new Error('no service'));
    await expect(first).rejects.toThrow('no service');
    void tests.form();
    answers[1]?.resolve(loadForm);
    expect(await tests.form()).toBe(loadForm);
    tests.reset();
    void tests.form();
    expect(asked).toHaveLength(3);
  });

  test('are named in paths as a URL has it', async () => {
    const { tests, asked } = server();
    void tests.start('a b', { rate: 1 });
    void tests.stop('a b-1');
    void tests.compare('x-1', 'y-2');
    void tests.report('x-1');
    expect(asked).toEqual([
      'api/models/a%20b/bench',
      'api/bench/a%20b-1/stop',
      'api/bench/x-1/compare/y-2',
      'api/bench/x-1/report'
    ]);
  });
});
