import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import { NEW_ROLLOUT, toRollout } from '../../src/versions/rolloutForm';
import {
  clauseState,
  clauseText,
  rolloutState,
  reasonText,
  rolloutText,
  spelled,
  stepsText
} from '../../src/versions/rolloutLabels';
import { VersionActions } from '../../src/versions/versionActions';
import { Versions } from '../../src/versions/versionsModel';
import { RequestError } from '../../src/service/requests';
import { rollout } from '../fixtures';

const trans = nullTranslator.load('');

test('a rollout says where it is, and what became of it', () => {
  const said = (differs: Parameters<typeof rollout>[0]) =>
    rolloutText(trans, rollout(differs), 1050);
  expect(said({})).toBe('Step 1 of 2: version 2 gets 25 % of the calls, for 4 min 10 s more');
  expect(said({ step: 2, step_ends_at: 1050 })).toBe(
    'Step 2 of 2: version 2 gets 100 % of the calls, until there are enough to tell'
  );
  expect(said({ status: 'halted' })).toBe(
    'Version 2 keeps its part of the calls, and gets no more'
  );
  expect(said({ status: 'rolled back' })).toContain('gets no calls but those that name it');
  expect(said({ status: 'stopped' })).toContain('gets no calls but those that name it');
  expect(said({ status: 'done', step: 2 })).toBe('Version 2 got through all steps, and serves');
  expect(said({ status: 'done', steps: [0.1, 0.5], step: 2 })).toContain('keeps 50 % of the calls');
  expect(rolloutState(trans, 'rolled back')).toEqual(['bad', 'Rolled back']);
  expect(reasonText(rollout({ reason: 'errors<5% is breached' }))).toBe('errors<5% is breached');
  expect(reasonText(rollout({ reason: 'by owner' }))).toBe('By owner');
  expect(stepsText(trans, [0.01, 1])).toBe('1 %, then 100 %');
});

test('a clause says what was found, and on how many calls that rests', () => {
  expect(clauseState(trans, 'too little to tell')).toEqual(['off', 'Too few calls yet']);
  expect(clauseState(trans, 'breached')).toEqual(['bad', 'Breached']);
  const clause = { clause: 'errors<1%', finding: 'holds', measured: '0.0 %', calls: 1200 } as const;
  expect(clauseText(trans, clause)).toBe('0.0 %; 1,200 calls');
  expect(clauseText(trans, { ...clause, measured: '', calls: 1 })).toBe('1 call');
});

test.each([
  [0.2, '1 s'],
  [45, '45 s'],
  [300, '5 min'],
  [3600, '1 h'],
  [9000, '2 h 30 min']
])('%d seconds are %s', (seconds, words) => expect(spelled(seconds)).toBe(words));

test('the form is read, and each field says what is wrong with it', () => {
  expect(toRollout(trans, '2', NEW_ROLLOUT).asked).toEqual({
    version: '2',
    steps: [0.01, 0.1, 0.5, 1],
    every_s: 300,
    guard: 'errors<1.5x,p99<1.1x'
  });
  const read = (differs: Partial<typeof NEW_ROLLOUT>) =>
    toRollout(trans, '2', { ...NEW_ROLLOUT, ...differs });
  expect(read({ steps: ' 2.5 %,50', every: '1.5h' }).asked).toMatchObject({
    steps: [0.025, 0.5],
    every_s: 5400
  });
  for (const steps of ['', '0', '50, 10', '10, 10', '120', '10,', 'all', '1e1']) {
    expect([steps, ...read({ steps }).wrong.keys()]).toEqual([steps, 'steps']);
  }
  for (const every of ['', '5', '0s', '8d', '5 weeks', '100ms']) {
    expect([every, ...read({ every }).wrong.keys()]).toEqual([every, 'every']);
  }
  expect([...read({ guard: ' ' }).wrong.keys()]).toEqual(['guard']);
  expect(read({ guard: ' ' }).asked).toBeNull();
});

/** The actions of a user who says `yes`, what was sent, and what they were asked. */
function acting(yes: boolean) {
  const sent: unknown[] = [];
  const asked: string[] = [];
  const versions = new Versions({
    get: <T>() => Promise.resolve({} as T),
    post: <T>(path: string, body: object) => {
      sent.push([path, body]);
      return Promise.resolve(rollout({ told: 'version 2: step 1 of 2, 25 %' }) as T);
    },
    lines: () => Promise.resolve()
  });
  const actions = new VersionActions(versions, trans, async (title, body) => {
    asked.push(`${title} ${body}`);
    return yes;
  });
  return { actions, sent, asked };
}

const ASKED = { version: '2', steps: [0.25, 1], every_s: 90, guard: 'errors<1%' };

test('a rollout is asked before it begins and before it is stopped', async () => {
  const { actions, sent, asked } = acting(false);
  expect(await actions.beginRollout('digits', ASKED)).toBeNull();
  expect(await actions.stopRollout('digits', rollout())).toBeNull();
  expect(asked[0]).toBe(
    'Roll version 2 of digits out? It gets 25 %, then 100 % of the calls that name no version, each for 1 min 30 s or until there are enough to tell. ' +
      'Where errors<1% does not hold, it gets none any more, at once.'
  );
  expect(asked[1]).toContain('Stop the rollout of digits?');
  expect(sent).toEqual([]);
});

test('with a yes it begins, stops, and goes on after a halt', async () => {
  const { actions, sent } = acting(true);
  expect(await actions.beginRollout('digits', ASKED)).toBe('Version 2: step 1 of 2, 25 %');
  await actions.stopRollout('digits', rollout());
  await actions.resumeRollout('digits');
  expect(sent).toEqual([
    ['api/models/digits/rollout', ASKED],
    ['api/models/digits/rollout/stop', {}],
    ['api/models/digits/rollout/resume', {}]
  ]);
});

test('a service that knows no rollouts has none', async () => {
  const from = (error: Error) =>
    new Versions({
      get: () => Promise.reject(error),
      post: () => Promise.reject(error),
      lines: () => Promise.resolve()
    }).rollout('digits');
  expect(await from(new RequestError('not found', 404))).toBeNull();
  await expect(from(new RequestError('away', 503))).rejects.toThrow('away');
});
