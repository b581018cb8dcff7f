import type { JupyterFrontEnd } from '@jupyterlab/application';
import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import { beforeEach, expect, test, vi } from 'vitest';
import { addLoadCommands, LOAD_IN_PALETTE } from '../../src/loadtest/loadtestCommands';
import { INITIAL, type IView } from '../../src/service/state';
import { CommandIDs, type IServiceModel } from '../../src/tokens';
import type { IRun, IRunning } from '../../src/service/loadtestWire';
import { model, run, running, service } from '../fixtures';

// What draws needs a page, and there is none here.
const shown = vi.hoisted(() => ({ item: vi.fn(), error: vi.fn(), info: vi.fn(), tab: vi.fn() }));
vi.mock('@jupyterlab/apputils', () => ({
  InputDialog: { getItem: shown.item },
  Notification: { error: shown.error, info: shown.info }
}));
vi.mock('../../src/ui/icons', () => ({ inferenceIcon: null }));
vi.mock('../../src/loadtest/report', () => ({ reportTab: shown.tab }));

interface ICommand {
  isEnabled?: (args: object) => boolean;
  execute: (args: object) => unknown;
}

function page(differs: { running?: IRunning[]; runs?: IRun[]; models?: IView['models'] } = {}) {
  const done: unknown[][] = [];
  const commands = new Map<string, ICommand>();
  const notified: string[] = [];
  const loadTests = {
    running: differs.running ?? [],
    runs: differs.runs ?? [],
    trouble: '',
    changed: new Signal<object, void>({}),
    refresh: async () => undefined,
    start: async (...args: unknown[]) => done.push(['start', ...args]),
    stop: async (...args: unknown[]) => done.push(['stop', ...args])
  };
  addLoadCommands({
    app: {
      commands: {
        addCommand: (id: string, command: ICommand) => commands.set(id, command),
        notifyCommandChanged: (id: string) => notified.push(id)
      },
      shell: {
        add: (...args: unknown[]) => done.push(['add', ...args]),
        activateById: (id: string) => done.push(['activate', id])
      }
    } as unknown as JupyterFrontEnd,
    model: {
      state: {
        ...INITIAL,
        link: { kind: 'live' },
        service: service(),
        models: differs.models ?? [model()]
      },
      stateChanged: new Signal<object, IView>({}),
      loadTests
    } as unknown as IServiceModel,
    trans: nullTranslator.load(''),
    panel: {
      reveal: () => undefined,
      revealEndpoint: () => undefined,
      revealLoadTests: name => done.push(['reveal', name])
    }
  });
  return {
    done,
    notified,
    loadTests,
    enabled: (id: string) => commands.get(id)?.isEnabled?.({}) ?? true,
    run: (id: string, args: object = {}) => commands.get(id)?.execute(args)
  };
}

beforeEach(() => {
  vi.resetAllMocks();
  vi.stubGlobal('document', { getElementById: () => null });
});

test('a load test shows the form, and begins where it is told how', async () => {
  const { done, run } = page();
  await run(CommandIDs.loadTest, { name: 'digits' });
  expect(done.slice(1)).toEqual([['reveal', 'digits']]);
  await run(CommandIDs.loadTest, { name: 'digits', test: { rate: 5 } });
  expect(done.at(-1)).toEqual(['start', 'digits', { rate: 5 }]);
});

test('without a model there is nothing to test, and without a test nothing to stop', () => {
  expect(page({ models: [] }).enabled(CommandIDs.loadTest)).toBe(false);
  expect(page().enabled(CommandIDs.loadTest)).toBe(true);
  expect(page().enabled(CommandIDs.stopLoadTest)).toBe(false);
  expect(page({ running: [running()] }).enabled(CommandIDs.stopLoadTest)).toBe(true);
});

test('all that run are stopped, or the one that is named', async () => {
  const two = [running(), running({ run: 'other-1' })];
  const all = page({ running: two });
  await all.run(CommandIDs.stopLoadTest);
  expect(all.done).toEqual([
    ['stop', 'digits-4'],
    ['stop', 'other-1']
  ]);
  const one = page({ running: two });
  await one.run(CommandIDs.stopLoadTest, { run: 'other-1' });
  expect(one.done).toEqual([['stop', 'other-1']]);
});

test('a report is a tab in the main area, or below where that has no room', async () => {
  const tab = { isAttached: false, parent: null };
  shown.tab.mockReturnValue(tab);
  const { done, run } = page();
  await run(CommandIDs.report, { run: 'digits-4' });
  expect(done).toEqual([
    ['add', tab, 'main', { type: 'Load Test Report' }],
    ['add', tab, 'down'],
    ['activate', 'infer-workbench-report-digits-4']
  ]);
});

test('which report is asked, and where there is none that is said', async () => {
  const none = page();
  await none.run(CommandIDs.report);
  expect(shown.info.mock.calls[0]?.[0]).toBe('No load test has been kept yet.');
  shown.item.mockResolvedValue({ value: null });
  const some = page({ runs: [run()] });
  await some.run(CommandIDs.report);
  expect(shown.item.mock.calls[0]?.[0].items).toEqual(['digits-4']);
  expect(some.done).toEqual([]);
});

test('the palette hears when a test begins and ends, not at each step', () => {
  const { loadTests, notified } = page();
  loadTests.running = [running()];
  loadTests.changed.emit();
  loadTests.changed.emit();
  expect(notified).toEqual(LOAD_IN_PALETTE);
});
