import { nullTranslator } from '@jupyterlab/translation';
import { expect, test } from 'vitest';
import type { IRouted, IVersionEntry, IVersionOverview } from '../../src/service/versionWire';
import { VersionActions } from '../../src/versions/versionActions';
import {
  entryState,
  labelsFrom,
  rollbackGoesTo,
  routedText,
  sharesText,
  weightsFrom
} from '../../src/versions/versionLabels';
import { Versions } from '../../src/versions/versionsModel';
import { model } from '../fixtures';

const trans = nullTranslator.load('');

function entry(differs: Partial<IVersionEntry> = {}): IVersionEntry {
  return {
    version: '1',
    state: 'Ready',
    routed: false,
    before: false,
    loaded_at: 1,
    reason: '',
    labels: [],
    weight: 0,
    ...differs
  };
}

function overview(...versions: IVersionEntry[]): IVersionOverview {
  return { model: 'digits', policy: 'latest', versions, history: [] };
}

function routed(differs: Partial<IRouted> = {}): IRouted {
  const done = { model: model({ version: '2' }), unchanged: false, previous: '1', seconds: 0.003 };
  return { ...done, ...differs };
}

test('a version says whether it serves, gets a part, is named or kept', () => {
  const word = (differs: Partial<IVersionEntry>) => entryState(trans, entry(differs))[1];
  expect(word({ routed: true, weight: 1 })).toBe('Serves');
  expect(word({ weight: 0.1 })).toBe('Gets a part of the calls');
  expect(word({})).toBe('Called by its name');
  expect(word({ state: 'stored', loaded_at: 0 })).toBe('Kept, not loaded');
  expect(entryState(trans, entry({ state: 'Failed', loaded_at: 0 }))).toEqual(['bad', 'Failed']);
});

test('a version says which shares are routed to it', () => {
  expect(sharesText(trans, entry())).toEqual([]);
  expect(sharesText(trans, entry({ shares: { 'team-a': 1, 'team-b': 0.25 } }))).toEqual([
    'Gets 100 % of the calls of share team-a',
    'Gets 25 % of the calls of share team-b'
  ]);
});

test('a rollback ends a split first, then goes to the version before', () => {
  const first = entry({ before: true });
  const second = entry({ version: '2', routed: true, weight: 1 });
  expect(rollbackGoesTo(overview(first, second))).toBe('1');
  const split = overview({ ...first, weight: 0.1 }, { ...second, weight: 0.9 });
  expect(rollbackGoesTo(split)).toBe('2');
  expect(rollbackGoesTo(overview(second))).toBeNull();
});

test('what was done is told', () => {
  expect(routedText(trans, routed())).toBe('Version 2 serves instead of version 1; it took 3 ms');
  expect(routedText(trans, routed({ weights: { '1': 0.9, '2': 0.1 } }))).toBe(
    'The calls are split: version 1 gets 90 %, version 2 gets 10 %'
  );
  expect(routedText(trans, routed({ previous: '2', weights: { '2': 1 } }))).toBe(
    'Version 2 gets all calls without a version'
  );
});

test('parts are typed in percent, and told where they cannot be', () => {
  expect(weightsFrom(trans, { '2': '12.5', '3': ' 10 % ', '4': '' })).toEqual({
    '2': 0.125,
    '3': 0.1,
    '4': 0
  });
  expect(weightsFrom(trans, { '2': 'much' })).toContain('from 0 to 100 %, got much');
  expect(weightsFrom(trans, { '2': '-1' })).toContain('from 0 to 100 %');
  expect(weightsFrom(trans, { '2': '60', '3': '50' })).toContain('110 % together');
  expect(labelsFrom(' stable,canary  ')).toEqual(['stable', 'canary']);
});

/** The actions of a user who says `yes`, and what they sent. */
function acting(yes: boolean) {
  const sent: unknown[] = [];
  const asked: string[] = [];
  const versions = new Versions({
    get: <T>() => Promise.resolve({} as T),
    post: <T>(path: string, body: object) => {
      sent.push([path, body]);
      return Promise.resolve(routed() as T);
    },
    lines: () => Promise.resolve()
  });
  const actions = new VersionActions(versions, trans, async title => {
    asked.push(title);
    return yes;
  });
  return { actions, sent, asked };
}

test('what changes what serves is asked first, and not done without a yes', async () => {
  const { actions, sent, asked } = acting(false);
  const found = overview(entry({ before: true }), entry({ version: '2', routed: true, weight: 1 }));
  expect(await actions.promote('digits', '2')).toBeNull();
  expect(await actions.split('digits', { '2': 0.1 }, '')).toBeNull();
  expect(await actions.rollback('digits', found)).toBeNull();
  expect(await actions.unload('digits', '2')).toBeNull();
  expect(asked).toEqual([
    'Promote version 2 of digits?',
    'Split the calls of digits?',
    'Roll digits back?',
    'Unload version 2 of digits?'
  ]);
  expect(sent).toEqual([]);
});

test('with a yes each verb is sent, and a label without a question', async () => {
  const { actions, sent, asked } = acting(true);
  await actions.promote('a b', '2');
  await actions.split('digits', { '2': 0.1, '3': 0 }, 'user');
  await actions.label('digits', '2', ['old', 'kept'], ['kept', 'new']);
  expect(await actions.label('digits', '2', ['kept'], ['kept'])).toBeNull();
  await actions.unload('digits', '2');
  expect(asked).toHaveLength(3);
  expect(sent).toEqual([
    ['api/models/a%20b/route', { weights: { '2': 1 }, by: '' }],
    ['api/models/digits/route', { weights: { '2': 0.1 }, by: 'user' }],
    ['api/models/digits/labels', { old: null, new: '2' }],
    ['api/models/digits/versions/2/unload', {}]
  ]);
});
