/** Wires the plugins only; the imported modules do the work. */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ILauncher } from '@jupyterlab/launcher';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Menu } from '@lumino/widgets';
import { Visibility } from './service/visibility';
import { browse } from './ui/fileDialog';
import { addCommands, IN_PALETTE } from './service/commands';
import { addDashboard } from './ui/dashboard';
import { addPlotTabs } from './ui/plotTab';
import { addLoadCommands, LOAD_IN_PALETTE } from './loadtest/loadtestCommands';
import { ServiceModel } from './service/model';
import { tellFirstCalls } from './share/firstCall';
import { addLiveOutput } from './live/liveOutput';
import { ServicePanel } from './ui/panel';
import { type IPageStream, STREAM } from './plots/contract';
import { rememberCollapseState, settingsOf } from './ui/settings';
import { CommandIDs, DOMAIN, IInferencePanel, IServiceModel, PluginIDs } from './tokens';
import { tellRollouts } from './versions/rolloutEvents';
import { addVersionCommands, VERSIONS_IN_PALETTE } from './versions/versionCommands';
import { rememberPlotSelection } from './ui/plotSelection';

export { IInferencePanel, IServiceModel };

const model: JupyterFrontEndPlugin<IServiceModel> = {
  id: PluginIDs.model,
  description: 'Provides the inference service as this page knows it, over one WebSocket.',
  autoStart: true,
  provides: IServiceModel,
  activate: app => {
    const model = new ServiceModel(app.serviceManager.serverSettings, new Visibility());
    // The output of a notebook cell is a separate module and finds the page's one stream here.
    (globalThis as { [STREAM]?: IPageStream })[STREAM] = model;
    return model;
  }
};

const panel: JupyterFrontEndPlugin<IInferencePanel> = {
  id: PluginIDs.panel,
  description: 'Adds the side panel: the service, its models and their live figures.',
  autoStart: true,
  provides: IInferencePanel,
  requires: [IServiceModel],
  optional: [ITranslator, ISettingRegistry, IStateDB, ILayoutRestorer, IDocumentManager],
  activate: (
    app: JupyterFrontEnd,
    model: IServiceModel,
    translator: ITranslator | null,
    registry: ISettingRegistry | null,
    state: IStateDB | null,
    restorer: ILayoutRestorer | null,
    documents: IDocumentManager | null
  ) => {
    const { commands, shell } = app;
    translator ??= nullTranslator;
    const widget = new ServicePanel({
      model,
      commands,
      trans: translator.load(DOMAIN),
      hasServer: PageConfig.getOption('appName') !== 'JupyterLite',
      browse: documents ? () => browse(documents, translator) : undefined,
      openMenu: (name, anchor) => openModelMenu(app, name, anchor)
    });
    shell.add(widget, 'right', { rank: 900, type: 'Inference' });
    restorer?.add(widget, widget.id);
    void settingsOf(registry).then(settings => {
      const configure = () => widget.configure(settings.composite);
      settings.changed.connect(configure);
      configure();
    });
    void rememberCollapseState(widget.collapseState, state);
    void rememberPlotSelection(widget.plotSelection, state, `${PluginIDs.panel}:live`);
    return widget;
  }
};

const commands: JupyterFrontEndPlugin<void> = {
  id: PluginIDs.commands,
  description: 'Adds the commands, to the palette and the launcher too.',
  autoStart: true,
  requires: [IServiceModel],
  optional: [
    ITranslator,
    ISettingRegistry,
    ICommandPalette,
    ILauncher,
    IFileBrowserFactory,
    IDocumentManager,
    IInferencePanel
  ],
  activate: async (
    app: JupyterFrontEnd,
    model: IServiceModel,
    translator: ITranslator | null,
    registry: ISettingRegistry | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    files: IFileBrowserFactory | null,
    documents: IDocumentManager | null,
    panel: IInferencePanel | null
  ) => {
    translator ??= nullTranslator;
    const trans = translator.load(DOMAIN);
    const settings = settingsOf(registry);
    addCommands(app.commands, {
      app,
      model,
      trans,
      browse: async () => (documents ? browse(documents, translator) : null),
      selected: () =>
        Array.from(files?.tracker.currentWidget?.selectedItems() ?? [], ({ path }) => path),
      confirmStop: async () => (await settings).composite.confirmStop,
      confirmUnload: async () => (await settings).composite.confirmUnload,
      panel: panel ?? undefined
    });
    addVersionCommands(app.commands, model, trans);
    addLoadCommands({ app, model, trans, panel: panel ?? undefined });
    tellFirstCalls(app.serviceManager.events, trans, () => {
      void app.commands.execute(CommandIDs.open);
      panel?.revealEndpoint();
    });
    tellRollouts(app.serviceManager.events, trans, name => {
      void app.commands.execute(CommandIDs.open);
      panel?.reveal(name, 'versions');
    });
    const category = trans.__('Inference');
    for (const command of [...IN_PALETTE, ...VERSIONS_IN_PALETTE, ...LOAD_IN_PALETTE]) {
      palette?.addItem({ command, category, args: { isPalette: true } });
    }
    launcher?.add({ command: CommandIDs.open, category: trans.__('Other'), rank: 50 });
  }
};

const dashboard: JupyterFrontEndPlugin<void> = {
  id: PluginIDs.dashboard,
  description: 'Adds the dashboard: large live plots of several models.',
  autoStart: true,
  requires: [IServiceModel],
  optional: [ITranslator, ICommandPalette, ILauncher, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    model: IServiceModel,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    addDashboard({ app, model, trans, palette, launcher, restorer });
  }
};

const plot: JupyterFrontEndPlugin<void> = {
  id: PluginIDs.plot,
  description: 'Adds tabs with a single live plot, to be docked beside a notebook.',
  autoStart: true,
  requires: [IServiceModel],
  optional: [ITranslator, ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    model: IServiceModel,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    addPlotTabs({ app, model, trans, palette, restorer });
  }
};

const output: JupyterFrontEndPlugin<void> = {
  id: PluginIDs.output,
  description: 'Draws the live plots of `%infer watch` in notebooks, without their kernels.',
  autoStart: true,
  requires: [IServiceModel, IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (
    _: JupyterFrontEnd,
    model: IServiceModel,
    rendermime: IRenderMimeRegistry,
    translator: ITranslator | null
  ) => addLiveOutput(rendermime, model, (translator ?? nullTranslator).load(DOMAIN))
};

/** Opens the menu of one model below a button. */
function openModelMenu(app: JupyterFrontEnd, name: string, anchor: HTMLElement): void {
  const menu = new Menu({ commands: app.commands });
  const args = { name };
  menu.addItem({ command: CommandIDs.tryOut, args });
  menu.addItem({ command: CommandIDs.set, args });
  menu.addItem({ command: CommandIDs.loadTest, args });
  menu.addItem({ type: 'separator' });
  menu.addItem({ command: CommandIDs.copyPython, args });
  menu.addItem({ command: CommandIDs.copyCurl, args });
  menu.addItem({ type: 'separator' });
  menu.addItem({ command: CommandIDs.unload, args });
  menu.aboutToClose.connect(() => anchor.focus());
  const { left, bottom } = anchor.getBoundingClientRect();
  menu.open(left, bottom);
}

export default [
  model,
  panel,
  commands,
  dashboard,
  plot,
  output
] as JupyterFrontEndPlugin<unknown>[];
