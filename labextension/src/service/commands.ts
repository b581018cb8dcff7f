import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { listIcon, refreshIcon, runIcon, stopIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { activate, showInDownArea } from '../ui/downArea';
import { inferenceIcon } from '../ui/icons';
import { LogsWidget } from '../ui/logs';
import { isModelName, isModelPath, nameFromPath, groupByModel } from './groupByModel';
import * as snippets from './snippets';
import type { Settings } from '../forms/modelSettingsForm';
import { CommandIDs, type IInferencePanel, type IServiceModel, WidgetIDs } from '../tokens';
import type { IModelStatus, ServiceState } from './wire';
import { unchangedText } from '../ui/labels';
import { mayReplace } from '../versions/replacing';

export interface ICommandOptions {
  readonly app: JupyterFrontEnd;
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  /** Lets the user choose an .onnx file; resolves to null if they cancel. */
  browse(): Promise<string | null>;
  /** The paths of the files that are selected in the file browser. */
  selected(): readonly string[];
  /** Whether to ask before stopping the service, and before unloading a served model. */
  confirmStop(): Promise<boolean>;
  confirmUnload(): Promise<boolean>;
  /** Absent if there is no panel. */
  readonly panel?: IInferencePanel | undefined;
}

/** The commands that are in the palette. */
export const IN_PALETTE = [
  CommandIDs.open,
  CommandIDs.start,
  CommandIDs.stop,
  CommandIDs.restart,
  CommandIDs.load,
  CommandIDs.loadStored,
  CommandIDs.unload,
  CommandIDs.tryOut,
  CommandIDs.set,
  CommandIDs.copyAddress,
  CommandIDs.copyPython,
  CommandIDs.copyCurl,
  CommandIDs.logs
];

const NAME = { type: 'string', description: 'The name of a model.' };
const PATH = {
  type: 'string',
  description: "An .onnx file, as JupyterLab's file browser names it."
};

export function addCommands(commands: CommandRegistry, options: ICommandOptions): void {
  const { app, model, trans, browse, selected, confirmStop, confirmUnload, panel } = options;

  const open = () => app.shell.activateById(WidgetIDs.panel);

  /** Runs `work`. The panel shows a failure; if the panel is hidden, a notification does. */
  const told = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (!document.getElementById(WidgetIDs.panel)?.offsetParent) {
        Notification.error((error as Error).message, { autoClose: false });
      }
      throw error;
    }
  };

  /** Whether the service is in one of these states, or unknown, and no command is in progress. */
  const isIn = (...states: ServiceState[]) => {
    const { service, busy, link } = model.state;
    return (
      link.kind !== 'missing' &&
      !busy.has('') &&
      (service === null || states.includes(service.state))
    );
  };

  const load = async (
    path: string,
    args: { name?: unknown; force?: unknown; config?: unknown }
  ) => {
    open();
    const name = text(args.name) || nameFromPath(path);
    const config = isSettings(args.config) ? { config: args.config } : {};
    const loaded = await told(model.load({ name, path, force: args.force === true, ...config }));
    if (loaded.unchanged) {
      Notification.info(unchangedText(trans, name), { autoClose: 5000 });
    }
    return loaded;
  };

  const named = (name: string): IModelStatus | undefined =>
    groupByModel(model.state.models).find(entry => entry.name === name)?.current;

  /** The model named in `args`, else one that the user chooses. */
  const whichModel = async (
    args: { name?: unknown },
    title: string,
    models = model.state.models
  ): Promise<string | null> => {
    if (text(args.name)) {
      return text(args.name);
    }
    const items = groupByModel(models).map(({ name }) => name);
    return (await InputDialog.getItem({ title, items, okLabel: title })).value;
  };

  const hasModels = () => model.state.models.length > 0;
  const serving = () => model.state.models.filter(status => status.routed);
  const known = () => model.state.models.filter(status => status.inputs !== null);
  /** The arguments of commands that take a model's name, or ask for it. */
  const among = (models: () => readonly IModelStatus[]) => (args: { name?: unknown }) =>
    models().some(({ name }) => !text(args.name) || name === args.name);

  /** Asks the user to confirm with a button of this label. */
  const agreed = async (title: string, body: string, label: string) => {
    const buttons = [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label })
    ];
    return (await showDialog({ title, body, buttons })).button.accept;
  };

  const agreedToStop = () =>
    agreed(
      trans.__('Stop the inference service?'),
      trans._n(
        '%1 model is served.',
        '%1 models are served.',
        groupByModel(model.state.models).length
      ) +
        ' ' +
        trans.__(
          'Programs that call the service will get errors until it starts again. The next call of a notebook starts it, with the same models.'
        ),
      trans.__('Stop')
    );

  const agreedToUnload = (name: string) =>
    agreed(
      trans.__('Unload %1?', name),
      trans.__(
        'What is under way is finished. Programs that call it will get errors from then on.'
      ),
      trans.__('Unload')
    );

  /** The models in the service's repositories that are not served. */
  const whichStored = async (): Promise<string | null> => {
    const title = trans.__('Load from the repository');
    const stored = await told(model.stored());
    const names = new Set(
      stored.filter(({ state }) => state === 'UNAVAILABLE').map(({ name }) => name)
    );
    serving().forEach(({ name }) => names.delete(name));
    if (names.size === 0) {
      Notification.info(
        trans.__(
          'The service’s repository has no model that is not loaded. Set INFER_WORKBENCH_MODEL_REPOSITORIES to a folder of models before Jupyter starts.'
        ),
        { autoClose: 8000 }
      );
      return null;
    }
    const okLabel = trans.__('Load');
    return (await InputDialog.getItem({ title, items: [...names], okLabel })).value;
  };

  commands.addCommand(CommandIDs.open, {
    label: args =>
      args['isPalette'] ? trans.__('Show the Inference Panel') : trans.__('Inference'),
    caption: trans.__('Show the models that are served, and their figures'),
    icon: inferenceIcon,
    describedBy: { args: schema({ isPalette: { type: 'boolean' } }) },
    execute: open
  });

  commands.addCommand(CommandIDs.start, {
    label: trans.__('Start the Inference Service'),
    caption: trans.__('Start the service that runs the models'),
    icon: runIcon,
    isEnabled: () => isIn('Stopped'),
    describedBy: { args: schema() },
    execute: () => told(model.start())
  });

  commands.addCommand(CommandIDs.stop, {
    label: trans.__('Stop the Inference Service'),
    caption: trans.__('Finish the running requests, then stop the service'),
    icon: stopIcon,
    isEnabled: () => isIn('Ready', 'Starting', 'Restarting', 'Failed'),
    describedBy: {
      args: schema({ confirm: { type: 'boolean', description: 'False: stop without asking.' } })
    },
    execute: async args => {
      if (args['confirm'] !== false && (await confirmStop()) && !(await agreedToStop())) {
        return;
      }
      await told(model.stop());
    }
  });

  commands.addCommand(CommandIDs.restart, {
    label: trans.__('Restart the Inference Service'),
    caption: trans.__('Restart the service with the same models; running requests end first'),
    icon: refreshIcon,
    isEnabled: () => isIn('Ready', 'Failed'),
    describedBy: { args: schema() },
    execute: () => told(model.restart())
  });

  commands.addCommand(CommandIDs.load, {
    label: trans.__('Load a Model…'),
    caption: trans.__('Serve an .onnx file'),
    icon: inferenceIcon,
    isEnabled: () => model.state.link.kind !== 'missing',
    describedBy: {
      args: schema({
        path: PATH,
        name: { ...NAME, description: "The name to serve it as; the file's stem where not given." },
        force: { type: 'boolean', description: 'Also where inputs or outputs change.' },
        config: { type: 'object', description: 'Settings of the model, as in docs/settings.md.' }
      })
    },
    execute: async args => {
      const path = text(args['path']) || (await browse());
      return path ? load(path, args) : undefined;
    }
  });

  commands.addCommand(CommandIDs.loadStored, {
    label: trans.__('Load a Model from the Service’s Repository…'),
    caption: trans.__('Serve a model of the folders that the service was started with'),
    icon: inferenceIcon,
    isEnabled: () => isIn('Ready'),
    describedBy: { args: schema({ name: NAME }) },
    execute: async args => {
      const name = text(args['name']) || (await whichStored());
      if (!name) {
        return undefined;
      }
      open();
      return told(model.load({ name, path: '' }));
    }
  });

  commands.addCommand(CommandIDs.serveFile, {
    label: trans.__('Serve This Model'),
    caption: trans.__('Load the selected .onnx file into the inference service'),
    icon: inferenceIcon,
    isVisible: () => selected().length === 1 && selected().every(isModelPath),
    describedBy: { args: schema({ path: PATH }) },
    execute: async args => {
      const path = text(args['path']) || selected().find(isModelPath);
      if (!path) {
        return undefined;
      }
      const found = nameFromPath(path);
      const name = isModelName(found) ? found : 'model';
      return (await mayReplace(model, trans, name)) ? load(path, { name }) : undefined;
    }
  });

  commands.addCommand(CommandIDs.unload, {
    label: args => (args['name'] ? trans.__('Unload') : trans.__('Unload a Model…')),
    caption: trans.__('Finish the running requests, then free the memory of every version'),
    isEnabled: args => (args['name'] ? !model.state.busy.has(text(args['name'])) : hasModels()),
    describedBy: {
      args: schema({
        name: NAME,
        confirm: { type: 'boolean', description: 'False: unload without asking.' }
      })
    },
    execute: async args => {
      const name = await whichModel(args, trans.__('Unload'));
      const serves = serving().some(status => status.name === name);
      const asks = serves && args['confirm'] !== false && (await confirmUnload());
      if (name && (!asks || (await agreedToUnload(name)))) {
        await told(model.unload(name));
      }
    }
  });

  commands.addCommand(CommandIDs.tryOut, {
    label: args => (args['name'] ? trans.__('Try It') : trans.__('Try a Model…')),
    caption: trans.__('Send one request, random or typed, and look at what comes back'),
    isEnabled: args => panel !== undefined && among(serving)(args),
    describedBy: { args: schema({ name: NAME }) },
    execute: async args => {
      const name = await whichModel(args, trans.__('Try'), serving());
      if (name) {
        open();
        panel?.reveal(name, 'try');
      }
    }
  });

  commands.addCommand(CommandIDs.set, {
    label: args => (args['name'] ? trans.__('Settings') : trans.__('Settings of a Model…')),
    caption: trans.__('Change the settings of a model while it serves'),
    isEnabled: among(serving),
    describedBy: {
      args: schema({
        name: NAME,
        settings: {
          type: 'object',
          description: 'Applied at once where given; without, the form is shown.'
        }
      })
    },
    execute: async args => {
      const name = await whichModel(args, trans.__('Settings'), serving());
      if (name && isSettings(args['settings'])) {
        return told(model.set(name, args['settings']));
      }
      if (name) {
        open();
        panel?.reveal(name, 'settings');
      }
      return undefined;
    }
  });

  commands.addCommand(CommandIDs.copyAddress, {
    label: trans.__('Copy the Address of the Inference Service'),
    caption: trans.__('Copy the address of the service on its machine'),
    isEnabled: () => Boolean(model.state.service?.url),
    describedBy: { args: schema() },
    execute: () => Clipboard.copyToSystem(model.state.service?.url ?? '')
  });

  commands.addCommand(CommandIDs.copyCurl, {
    label: args => (args['name'] ? trans.__('Copy as curl') : trans.__('Copy a Call as curl…')),
    caption: trans.__('Copy an example request, to run on the machine of the service'),
    isEnabled: among(known),
    describedBy: { args: schema({ name: NAME }) },
    execute: async args => {
      const status = named((await whichModel(args, trans.__('Copy'), known())) ?? '');
      if (status) {
        const { url = '', token_file = '' } = model.state.service ?? {};
        Clipboard.copyToSystem(snippets.curl(url, token_file, status));
      }
    }
  });

  commands.addCommand(CommandIDs.copyPython, {
    label: args => (args['name'] ? trans.__('Copy as Python') : trans.__('Copy a Call in Python…')),
    caption: trans.__('Copy an example call from a notebook'),
    isEnabled: among(known),
    describedBy: { args: schema({ name: NAME }) },
    execute: async args => {
      const status = named((await whichModel(args, trans.__('Copy'), known())) ?? '');
      if (status) {
        Clipboard.copyToSystem(snippets.python(status));
      }
    }
  });

  let logs: LogsWidget | null = null;
  commands.addCommand(CommandIDs.logs, {
    label: trans.__('Show the Inference Logs'),
    caption: trans.__('Show the last lines that the service wrote'),
    icon: listIcon,
    isEnabled: () => model.state.link.kind !== 'missing',
    describedBy: { args: schema() },
    execute: () => {
      if (logs === null || logs.isDisposed) {
        logs = new LogsWidget(model, trans);
        // JupyterLab and Notebook 7 both have a down area.
        showInDownArea(app.shell, logs);
      }
      activate(app.shell, logs);
    }
  });

  model.stateChanged.connect(() => {
    for (const id of IN_PALETTE) {
      commands.notifyCommandChanged(id);
    }
  });
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function schema(properties: Record<string, { type: string; description?: string }> = {}) {
  return { type: 'object', properties };
}
