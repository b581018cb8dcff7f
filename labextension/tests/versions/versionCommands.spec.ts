import { nullTranslator } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { beforeEach, expect, test, vi } from 'vitest';
import { CommandIDs, type IServiceModel } from '../../src/tokens';
import { addVersionCommands } from '../../src/versions/versionCommands';
import { Versions } from '../../src/versions/versionsModel';
import { model } from '../fixtures';

const shown = vi.hoisted(() => ({ success: vi.fn(), error: vi.fn(), item: vi.fn() }));
vi.mock('@jupyterlab/apputils', () => ({
  Dialog: {},
  InputDialog: { getItem: shown.item },
  Notification: { success: shown.success, error: shown.error },
  showDialog: vi.fn()
}));

beforeEach(() => vi.clearAllMocks());

const entry = { state: 'Ready', labels: ['old'], loaded_at: 1, reason: '' };
const overview = {
  model: 'digits',
  versions: [
    { ...entry, version: '1', routed: false, before: true, weight: 0 },
    { ...entry, version: '2', routed: true, before: false, weight: 1 }
  ],
  history: []
};

function page(trouble = '') {
  const sent: unknown[] = [];
  const asked: string[] = [];
  const versions = new Versions({
    get: <T>() => Promise.resolve(overview as T),
    post: async <T>(path: string, body: object) => {
      sent.push([path, body]);
      if (trouble) {
        throw new Error(trouble);
      }
      return { model: model({ version: '1' }), previous: '2', seconds: 0.003 } as T;
    },
    lines: () => Promise.resolve()
  });
  const commands = new Map<string, { execute: (args: object) => Promise<void> }>();
  addVersionCommands(
    {
      addCommand: (id: string, command: never) => commands.set(id, command)
    } as unknown as CommandRegistry,
    { state: { models: [model()] }, versions } as unknown as IServiceModel,
    nullTranslator.load(''),
    async title => {
      asked.push(title);
      return true;
    }
  );
  const run = (id: string, args: object) => commands.get(id)?.execute(args);
  return { run, sent, asked };
}

test('a rollback from the palette asks which model, then whether, and tells what came of it', async () => {
  const { run, sent, asked } = page();
  shown.item.mockResolvedValue({ value: 'digits' });
  await run(CommandIDs.rollback, {});
  expect(asked).toEqual(['Roll digits back?']);
  expect(sent).toEqual([['api/models/digits/rollback', {}]]);
  expect(shown.success.mock.calls[0]?.[0]).toBe(
    'Version 1 serves instead of version 2; it took 3 ms'
  );
  shown.item.mockResolvedValue({ value: null });
  await run(CommandIDs.rollback, {});
  expect(sent).toHaveLength(1);
});

test('all calls to one version promote it, parts are a split, and confirm: false does not ask', async () => {
  const { run, sent, asked } = page();
  await run(CommandIDs.route, { name: 'digits', weights: { '2': 1 } });
  await run(CommandIDs.route, { name: 'digits', weights: { '2': 0.1 }, by: 'user' });
  await run(CommandIDs.unloadVersion, { name: 'digits', version: '1', confirm: false });
  await run(CommandIDs.label, { name: 'digits', version: '1', labels: ['new'] });
  expect(asked).toEqual(['Promote version 2 of digits?', 'Split the calls of digits?']);
  expect(sent).toEqual([
    ['api/models/digits/route', { weights: { '2': 1 }, by: '' }],
    ['api/models/digits/route', { weights: { '2': 0.1 }, by: 'user' }],
    ['api/models/digits/versions/1/unload', {}],
    ['api/models/digits/labels', { old: null, new: '1' }]
  ]);
});

test('what is refused is told and stays an error', async () => {
  const { run } = page('version 9 is not found');
  await expect(run(CommandIDs.unloadVersion, { name: 'digits', version: '9' })).rejects.toThrow();
  expect(shown.error.mock.calls[0]?.[0]).toBe('version 9 is not found');
});
