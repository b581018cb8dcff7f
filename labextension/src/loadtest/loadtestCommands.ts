import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog, Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { showInDownArea } from '../ui/downArea';
import { inferenceIcon } from '../ui/icons';
import { groupByModel } from '../service/groupByModel';
import { CommandIDs, type IInferencePanel, type IServiceModel, WidgetIDs } from '../tokens';
import type { ILoadTest } from '../service/loadtestWire';

export interface ILoadCommandOptions {
  readonly app: JupyterFrontEnd;
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  /** Absent if there is no panel. */
  readonly panel?: IInferencePanel | undefined;
}

/** The commands that are in the palette. */
export const LOAD_IN_PALETTE = [CommandIDs.loadTest, CommandIDs.stopLoadTest, CommandIDs.report];

const RUN = { type: 'string', description: 'The name of a load test, as digits-4.' };

export function addLoadCommands({ app, model, trans, panel }: ILoadCommandOptions): void {
  const { commands, shell } = app;
  const { loadTests } = model;

  /** Runs `work` and shows a notification if it fails. */
  const told = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      Notification.error((error as Error).message, { autoClose: false });
      return undefined;
    }
  };

  const ready = () => groupByModel(model.state.models.filter(({ state }) => state === 'Ready'));

  commands.addCommand(CommandIDs.loadTest, {
    label: args => (args['name'] ? trans.__('Load Test') : trans.__('Load-Test a Model…')),
    caption: trans.__('Find out how many requests a model takes, and how fast it answers then'),
    icon: inferenceIcon,
    isEnabled: () => ready().length > 0,
    describedBy: {
      args: schema({
        name: { type: 'string', description: 'The name of a model.' },
        test: {
          type: 'object',
          description:
            'Begun at once where given, as {"rate": 200, "duration": "10s"}; without, the form is shown.'
        }
      })
    },
    execute: async args => {
      const title = trans.__('Load test');
      const items = ready().map(({ name }) => name);
      const name =
        text(args['name']) || (await InputDialog.getItem({ title, items, okLabel: title })).value;
      if (!name) {
        return undefined;
      }
      shell.activateById(WidgetIDs.panel);
      panel?.revealLoadTests(name);
      const test = args['test'];
      return typeof test === 'object' && test !== null
        ? told(loadTests.start(name, test as ILoadTest))
        : undefined;
    }
  });

  commands.addCommand(CommandIDs.stopLoadTest, {
    label: trans.__('Stop the Load Test'),
    caption: trans.__('Stop it now and keep its measurements'),
    isEnabled: () => loadTests.running.length > 0,
    describedBy: { args: schema({ run: RUN }) },
    execute: async args => {
      const runs = loadTests.running.map(({ run }) => run);
      const wanted = text(args['run']);
      await told(
        Promise.all(runs.filter(run => !wanted || run === wanted).map(run => loadTests.stop(run)))
      );
    }
  });

  commands.addCommand(CommandIDs.report, {
    label: trans.__('Show the Report of a Load Test…'),
    caption: trans.__('Open the report of a stored load test in a tab'),
    icon: inferenceIcon,
    isEnabled: () => model.state.link.kind !== 'missing',
    describedBy: { args: schema({ run: RUN }) },
    execute: async args => {
      const run = text(args['run']) || (await whichRun());
      if (!run) {
        return undefined;
      }
      const id = `${WidgetIDs.report}-${run}`;
      if (!document.getElementById(id)) {
        const { reportTab } = await import('./report');
        const tab = reportTab(loadTests, trans, run);
        shell.add(tab, 'main', { type: 'Load Test Report' });
        if (!tab.isAttached) {
          // Notebook 7 has one document in its main area, so the report goes to the down area.
          showInDownArea(shell, tab);
        }
      }
      shell.activateById(id);
      return id;
    }
  });

  const whichRun = async (): Promise<string | null> => {
    await loadTests.refresh();
    const items = (loadTests.runs ?? []).map(({ run }) => run);
    if (items.length === 0) {
      Notification.info(loadTests.trouble || trans.__('No load test has been kept yet.'), {
        autoClose: 5000
      });
      return null;
    }
    const title = trans.__('Report of a load test');
    return (await InputDialog.getItem({ title, items, okLabel: trans.__('Show') })).value;
  };

  const notify = () => LOAD_IN_PALETTE.forEach(id => commands.notifyCommandChanged(id));
  let some = false;
  loadTests.changed.connect(() => {
    // Running tests change four times a second, which would be too often.
    if (some !== loadTests.running.length > 0) {
      some = !some;
      notify();
    }
  });
  model.stateChanged.connect(notify);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function schema(properties: Record<string, { type: string; description?: string }>) {
  return { type: 'object', properties };
}
