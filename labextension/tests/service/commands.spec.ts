import type { JupyterFrontEnd } from '@jupyterlab/application';
import { nullTranslator } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { addCommands, IN_PALETTE } from '../../src/service/commands';
import { INITIAL, type IView } from '../../src/service/state';
import { CommandIDs, type IServiceModel } from '../../src/tokens';
import type { IStored, ServiceState } from '../../src/service/wire';
import { model, service } from '../fixtures';

// What draws needs a page, and there is none here.
const shown = vi.hoisted(() => ({
  dialog: vi.fn(),
  item: vi.fn(),
  error: vi.fn(),
  info: vi.fn(),
  copy: vi.fn()
}));
vi.mock('@jupyterlab/apputils', () => ({
  Clipboard: { copyToSystem: shown.copy },
  Dialog: { cancelButton: () => ({}), warnButton: () => ({}) },
  InputDialog: { getItem: shown.item },
  Notification: { error: shown.error, info: shown.info },
  showDialog: shown.dialog
}));
vi.mock('@jupyterlab/ui-components', () => ({
  listIcon: null,
  refreshIcon: null,
  runIcon: null,
  stopIcon: null
}));
vi.mock('../../src/ui/icons', () => ({ inferenceIcon: null }));
vi.mock('../../src/ui/logs', () => ({ LogsWidget: null }));

interface ICommand {
  label: string | ((args: object) => string);
  isEnabled?: (args: object) => boolean;
  isVisible?: (args: object) => boolean;
  execute: (args: object) => unknown;
}

/** The commands on a page where things stand as in `view`; `done` is what they asked the service for. */
function page(
  view: Partial<IView>,
  differs: {
    selected?: string[];
    browsed?: string;
    trouble?: string;
    unchanged?: boolean;
    stored?: IStored[];
    confirmUnload?: boolean;
  } = {}
) {
  const done: unknown[][] = [];
  const ask =
    (verb: string) =>
    async (...args: unknown[]) => {
      done.push([verb, ...args]);
      if (differs.trouble) {
        throw new Error(differs.trouble);
      }
      return { unchanged: differs.unchanged ?? false };
    };
  const commands = new Map<string, ICommand>();
  const notified: string[] = [];
  const stateChanged = new Signal<object, IView>({});
  addCommands(
    {
      addCommand: (id: string, command: ICommand) => commands.set(id, command),
      notifyCommandChanged: (id: string) => notified.push(id)
    } as unknown as CommandRegistry,
    {
      app: { shell: { activateById: () => undefined } } as unknown as JupyterFrontEnd,
      model: {
        state: { ...INITIAL, link: { kind: 'live' }, service: service(), ...view },
        stateChanged,
        start: ask('start'),
        stop: ask('stop'),
        restart: ask('restart'),
        load: ask('load'),
        unload: ask('unload'),
        set: ask('set'),
        stored: async () => differs.stored ?? []
      } as unknown as IServiceModel,
      trans: nullTranslator.load(''),
      browse: async () => differs.browsed ?? null,
      selected: () => differs.selected ?? [],
      confirmStop: async () => true,
      confirmUnload: async () => differs.confirmUnload ?? true,
      panel: {
        reveal: (...args) => done.push(['reveal', ...args]),
        revealLoadTests: () => undefined,
        revealEndpoint: () => undefined
      }
    }
  );
  const command = (id: string) => commands.get(id) as ICommand;
  return {
    done,
    notified,
    stateChanged,
    command,
    enabled: (id: string, args: object = {}) => command(id).isEnabled?.(args) ?? true,
    run: (id: string, args: object = {}) => command(id).execute(args)
  };
}

const CONTROLS = [CommandIDs.start, CommandIDs.stop, CommandIDs.restart];

beforeEach(() => {
  vi.resetAllMocks();
  vi.stubGlobal('document', { getElementById: () => ({ offsetParent: {} }) });
});

describe('what can be done with the service', () => {
  test.each<[ServiceState, string[]]>([
    ['Stopped', [CommandIDs.start]],
    ['Starting', [CommandIDs.stop]],
    ['Ready', [CommandIDs.stop, CommandIDs.restart]],
    ['Restarting', [CommandIDs.stop]],
    ['Failed', [CommandIDs.stop, CommandIDs.restart]],
    ['Stopping', []]
  ])('while it is %s', (state, possible) => {
    const { enabled } = page({ service: service({ state }) });
    expect(CONTROLS.filter(id => enabled(id))).toEqual(possible);
  });

  test('all of it while nobody knows how it stands', () => {
    const { enabled } = page({ service: null, link: { kind: 'idle' } });
    expect(CONTROLS.filter(id => enabled(id))).toEqual(CONTROLS);
  });

  test('nothing while something is being done to it, or without a server extension', () => {
    const busy = page({ busy: new Map([['', 'restart']]) });
    const missing = page({ link: { kind: 'missing', why: 'absent', message: '' } });
    for (const { enabled } of [busy, missing]) {
      expect(CONTROLS.filter(id => enabled(id))).toEqual([]);
    }
    expect(missing.enabled(CommandIDs.load)).toBe(false);
    expect(missing.enabled(CommandIDs.logs)).toBe(false);
  });

  test('a stop is asked about, unless the caller did', async () => {
    const { run, done } = page({});
    shown.dialog.mockResolvedValueOnce({ button: { accept: false } });
    await run(CommandIDs.stop);
    expect(done).toEqual([]);
    shown.dialog.mockResolvedValueOnce({ button: { accept: true } });
    await run(CommandIDs.stop);
    await run(CommandIDs.stop, { confirm: false });
    expect(done).toEqual([['stop'], ['stop']]);
    expect(shown.dialog).toHaveBeenCalledTimes(2);
  });
});

describe('loading', () => {
  test('a file is served under its stem, unless another name is asked for', async () => {
    const { run, done } = page({});
    await run(CommandIDs.load, { path: 'models/a b.onnx' });
    await run(CommandIDs.load, { path: 'x.onnx', name: 'digits', force: true });
    expect(done).toEqual([
      ['load', { name: 'a_b', path: 'models/a b.onnx', force: false }],
      ['load', { name: 'digits', path: 'x.onnx', force: true }]
    ]);
  });

  test('the same file once more is said to change nothing', async () => {
    await page({}).run(CommandIDs.load, { path: 'x.onnx' });
    expect(shown.info).not.toHaveBeenCalled();
    await page({}, { unchanged: true }).run(CommandIDs.load, { path: 'x.onnx' });
    expect(shown.info.mock.lastCall?.[0]).toContain('x serves this very model already');
  });

  test('without a path the user chooses one, or none', async () => {
    const chosen = page({}, { browsed: 'x.onnx' });
    await chosen.run(CommandIDs.load);
    expect(chosen.done).toEqual([['load', { name: 'x', path: 'x.onnx', force: false }]]);
    const none = page({});
    await none.run(CommandIDs.load);
    expect(none.done).toEqual([]);
  });

  test('settings go along', async () => {
    const { run, done } = page({});
    await run(CommandIDs.load, { path: 'x.onnx', config: { max_batch_size: 4 } });
    expect(done).toEqual([
      ['load', { name: 'x', path: 'x.onnx', force: false, config: { max_batch_size: 4 } }]
    ]);
  });

  test('from the repository offers what is not loaded, or says that there is nothing', async () => {
    const stored = (name: string, state: IStored['state']): IStored => ({
      name,
      version: '1',
      state,
      reason: ''
    });
    const some = page(
      {},
      {
        stored: [stored('in', 'READY'), stored('out', 'UNAVAILABLE'), stored('out', 'UNAVAILABLE')]
      }
    );
    shown.item.mockResolvedValueOnce({ value: 'out' });
    await some.run(CommandIDs.loadStored);
    expect(shown.item.mock.calls[0]?.[0]).toMatchObject({ items: ['out'] });
    expect(some.done).toEqual([['load', { name: 'out', path: '' }]]);
    await page({}).run(CommandIDs.loadStored);
    expect(shown.info.mock.lastCall?.[0]).toContain('MODEL_REPOSITORIES');
  });

  test.each<[string[], boolean]>([
    [['a.onnx'], true],
    [['a.txt'], false],
    [['a.onnx', 'b.onnx'], false],
    [[], false]
  ])('with %j selected in the file browser it is offered there: %s', (selected, offered) => {
    expect(page({}, { selected }).command(CommandIDs.serveFile).isVisible?.({})).toBe(offered);
  });

  test('a selected file whose stem makes no name is served all the same', async () => {
    const { run, done } = page({}, { selected: ['-.onnx'] });
    await run(CommandIDs.serveFile);
    expect(done).toEqual([['load', { name: 'model', path: '-.onnx', force: false }]]);
  });
});

describe('one model', () => {
  const view = { models: [model({ name: 'b' }), model({ name: 'a' })] };

  test('unload takes the one that is named, else one that the user chooses, or none', async () => {
    const { run, done } = page(view, { confirmUnload: false });
    await run(CommandIDs.unload, { name: 'b' });
    shown.item.mockResolvedValueOnce({ value: 'a' }).mockResolvedValueOnce({ value: null });
    await run(CommandIDs.unload);
    await run(CommandIDs.unload);
    expect(done).toEqual([
      ['unload', 'b'],
      ['unload', 'a']
    ]);
    expect(shown.item.mock.calls[0]?.[0]).toMatchObject({ items: ['a', 'b'] });
  });

  test('an unload is asked about where the model serves, unless the caller did', async () => {
    const failed = model({ name: 'failed', state: 'Failed', routed: false });
    const { run, done } = page({ models: [model({ name: 'b' }), failed] });
    shown.dialog.mockResolvedValueOnce({ button: { accept: false } });
    await run(CommandIDs.unload, { name: 'b' });
    expect(done).toEqual([]);
    shown.dialog.mockResolvedValueOnce({ button: { accept: true } });
    await run(CommandIDs.unload, { name: 'b' });
    await run(CommandIDs.unload, { name: 'b', confirm: false });
    await run(CommandIDs.unload, { name: 'failed' });
    expect(done).toEqual([
      ['unload', 'b'],
      ['unload', 'b'],
      ['unload', 'failed']
    ]);
    expect(shown.dialog).toHaveBeenCalledTimes(2);
  });

  test('what serves can be tried and set in the panel, or set at once', async () => {
    const failed = model({ name: 'failed', state: 'Failed', routed: false });
    const { run, done, enabled } = page({ models: [model({ name: 'b' }), failed] });
    for (const id of [CommandIDs.tryOut, CommandIDs.set]) {
      expect(['b', 'failed'].map(name => enabled(id, { name }))).toEqual([true, false]);
    }
    await run(CommandIDs.tryOut, { name: 'b' });
    await run(CommandIDs.set, { name: 'b' });
    await run(CommandIDs.set, { name: 'b', settings: { max_batch_size: 8 } });
    expect(done).toEqual([
      ['reveal', 'b', 'try'],
      ['reveal', 'b', 'settings'],
      ['set', 'b', { max_batch_size: 8 }]
    ]);
  });

  test('unload waits for what is being done to it, and needs one', () => {
    const busy = page({ ...view, busy: new Map([['a', 'unload']]) });
    expect(busy.enabled(CommandIDs.unload, { name: 'a' })).toBe(false);
    expect(busy.enabled(CommandIDs.unload, { name: 'b' })).toBe(true);
    expect(page({}).enabled(CommandIDs.unload)).toBe(false);
    expect(page(view).enabled(CommandIDs.unload)).toBe(true);
  });

  test('a call can be copied once its inputs are known', async () => {
    const { enabled, run } = page({
      models: [model({ name: 'a' }), model({ name: 'b', inputs: null })]
    });
    for (const id of [CommandIDs.copyCurl, CommandIDs.copyPython]) {
      expect(['a', 'b', 'absent'].map(name => enabled(id, { name }))).toEqual([true, false, false]);
      await run(id, { name: 'a' });
      expect(shown.copy.mock.lastCall?.[0]).toContain('a');
    }
  });
});

test.each([
  [{ offsetParent: {} }, 0],
  [{ offsetParent: null }, 1],
  [null, 1]
])(
  'a failure is told beside the panel only where that is not in sight: %j',
  async (panel, told) => {
    vi.stubGlobal('document', { getElementById: () => panel });
    const { run } = page({}, { trouble: 'It did not start.' });
    await expect(run(CommandIDs.start)).rejects.toThrow('It did not start.');
    expect(shown.error).toHaveBeenCalledTimes(told);
  }
);

test('each change of the state may enable or disable what stands in the palette', () => {
  const { stateChanged, notified } = page({});
  stateChanged.emit(INITIAL);
  expect(notified).toEqual(expect.arrayContaining([...IN_PALETTE]));
});
