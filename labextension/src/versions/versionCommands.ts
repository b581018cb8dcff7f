import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import { groupByModel } from '../service/groupByModel';
import { CommandIDs, type IServiceModel } from '../tokens';
import { type Ask, VersionActions } from './versionActions';
import { percent } from './versionLabels';

/** The commands that are in the palette. */
export const VERSIONS_IN_PALETTE = [CommandIDs.rollback];

/** Asks the user with a dialog. */
export function asking(trans: TranslationBundle): Ask {
  return async (title, body, label) => {
    const buttons = [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.okButton({ label })
    ];
    return (await showDialog({ title, body, buttons })).button.accept;
  };
}

const NAME = { type: 'string', description: 'The name of a model.' };
const CONFIRM = { type: 'boolean', description: 'False: without asking.' };

/** Each tells what came of it in a notification. */
export function addVersionCommands(
  commands: CommandRegistry,
  model: IServiceModel,
  trans: TranslationBundle,
  ask: Ask = asking(trans)
): void {
  const names = () => groupByModel(model.state.models).map(({ name }) => name);

  /** Does `work` on the model that is named, or that the user chooses. */
  const on = async (
    args: { readonly [name: string]: unknown },
    title: string,
    work: (actions: VersionActions, name: string) => Promise<string | null>
  ) => {
    const name =
      text(args['name']) || (await InputDialog.getItem({ title, items: names() })).value || '';
    if (!name) {
      return;
    }
    const actions = new VersionActions(
      model.versions,
      trans,
      args['confirm'] === false ? async () => true : ask
    );
    try {
      const said = await work(actions, name);
      if (said !== null) {
        Notification.success(said, { autoClose: 5000 });
      }
    } catch (error) {
      Notification.error((error as Error).message, { autoClose: false });
      throw error;
    }
  };

  commands.addCommand(CommandIDs.route, {
    label: trans.__('Split the Calls of a Model'),
    caption: trans.__('Give versions of a model parts of the calls, or one of them all'),
    isEnabled: () => names().length > 0,
    describedBy: {
      args: schema({
        name: NAME,
        weights: { type: 'object', description: 'The part of each version, as {"2": 0.1}.' },
        by: { type: 'string', description: 'The parameter whose value stays on one side.' },
        confirm: CONFIRM
      })
    },
    execute: args =>
      on(args, trans.__('Split the calls'), async (actions, name) => {
        const weights = (args['weights'] ?? {}) as Readonly<Record<string, number>>;
        const given = Object.entries(weights).filter(([, weight]) => weight > 0);
        const [only] = given;
        return only && given.length === 1 && percent(only[1]) === percent(1)
          ? actions.promote(name, only[0])
          : actions.split(name, weights, text(args['by']));
      })
  });

  commands.addCommand(CommandIDs.rollback, {
    label: args => (args['name'] ? trans.__('Roll Back') : trans.__('Roll a Model Back…')),
    caption: trans.__('End a split, or have the version serve that served before'),
    isEnabled: () => names().length > 0,
    describedBy: { args: schema({ name: NAME, confirm: CONFIRM }) },
    execute: args =>
      on(args, trans.__('Roll back'), async (actions, name) =>
        actions.rollback(name, await model.versions.overview(name))
      )
  });

  commands.addCommand(CommandIDs.label, {
    label: trans.__('Label a Version'),
    caption: trans.__('Set the labels that a version can be called by'),
    isEnabled: () => names().length > 0,
    describedBy: {
      args: schema({
        name: NAME,
        version: { type: 'string', description: 'The version.' },
        labels: { type: 'array', description: 'All that it is to have.' }
      })
    },
    execute: args =>
      on(args, trans.__('Label'), async (actions, name) => {
        const version = text(args['version']);
        const found = await model.versions.overview(name);
        const before = found.versions.find(each => each.version === version)?.labels ?? [];
        return actions.label(name, version, before, (args['labels'] ?? []) as readonly string[]);
      })
  });

  commands.addCommand(CommandIDs.unloadVersion, {
    label: trans.__('Unload a Version'),
    caption: trans.__('Unload one version that does not serve, after its calls'),
    isEnabled: () => names().length > 0,
    describedBy: {
      args: schema({
        name: NAME,
        version: { type: 'string', description: 'The version.' },
        confirm: CONFIRM
      })
    },
    execute: args =>
      on(args, trans.__('Unload'), (actions, name) => actions.unload(name, text(args['version'])))
  });
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function schema(properties: Record<string, { type: string; description?: string }>) {
  return { type: 'object', properties };
}
