import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { type ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import { VisibleWidget } from './visibleWidget';
import { activate, showInDownArea } from './downArea';
import type { IDashboardContext } from '../components/dashboardContent';
import { LATENCY_SCALES } from '../plots/valueScale';
import { dashboardIcon } from './icons';
import { CommandIDs, type IServiceModel, NAMESPACE, WidgetIDs } from '../tokens';
import { parseSelection, PlotSelection, serializeSelection } from './plotSelection';

/** Loaded when the first dashboard is shown, so that the page appears sooner. */
const Content = React.lazy(async () => ({
  default: (await import('../components/dashboardContent')).DashboardContent
}));

/** A widget of the main area with large live plots of several models side by side. */
export class Dashboard extends VisibleWidget {
  constructor(
    private readonly _context: IDashboardContext,
    readonly plotSelection: PlotSelection
  ) {
    super(_context.model);
    this.addClass('iw-Dashboard');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _context.trans.__('Inference dashboard'));
  }

  protected override render(): JSX.Element {
    return (
      <React.Suspense fallback={null}>
        <Content
          {...this._context}
          view={this._context.model.state}
          plotSelection={this.plotSelection}
        />
      </React.Suspense>
    );
  }
}

export interface IDashboardOptions {
  readonly app: JupyterFrontEnd;
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  readonly palette: ICommandPalette | null;
  readonly launcher: ILauncher | null;
  readonly restorer: ILayoutRestorer | null;
}

/** Adds the command that shows the dashboard, to the palette and launcher too, and restores it with the workspace. */
export function addDashboard(options: IDashboardOptions): void {
  const { app, model, trans, palette, launcher, restorer } = options;
  const { commands, shell } = app;
  const tracker = new WidgetTracker<MainAreaWidget<Dashboard>>({
    namespace: `${NAMESPACE}-dashboard`
  });

  const make = (plotSelection: PlotSelection) => {
    const content = new Dashboard(
      {
        model,
        trans,
        openPanel: () => void commands.execute(CommandIDs.open),
        tryOut: name => void commands.execute(CommandIDs.tryOut, { name }),
        openPlot: (name, plot) => void commands.execute(CommandIDs.plot, { name, plot })
      },
      plotSelection
    );
    const widget = new MainAreaWidget({ content });
    widget.id = WidgetIDs.dashboard;
    widget.title.label = trans.__('Inference dashboard');
    widget.title.icon = dashboardIcon;
    widget.title.closable = true;
    widget.toolbar.hide();
    plotSelection.changed.connect(() => void tracker.save(widget));
    return widget;
  };

  commands.addCommand(CommandIDs.dashboard, {
    label: args =>
      args['isPalette']
        ? trans.__('Show the Inference Dashboard')
        : trans.__('Inference dashboard'),
    caption: trans.__('Large live plots of the models that are served, side by side'),
    icon: dashboardIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          models: {
            type: 'array',
            items: { type: 'string' },
            description: 'The names of the models to show; the busiest where not given.'
          },
          window_s: { type: 'number', description: 'How far back: 60, 300 or 900 seconds.' },
          latency: {
            type: 'string',
            enum: [...LATENCY_SCALES],
            description: 'How latency is scaled.'
          },
          shared: {
            type: 'boolean',
            description: 'Whether the plots of all models have the same scales.'
          }
        }
      }
    },
    execute: async args => {
      let widget = tracker.find(({ isDisposed }) => !isDisposed) ?? null;
      if (widget === null) {
        widget = make(new PlotSelection(parseSelection(args)));
        shell.add(widget, 'main', { type: 'Inference Dashboard' });
        if (!widget.isAttached) {
          // Notebook 7 has one document in its main area, so the dashboard goes to the down area.
          showInDownArea(shell, widget);
        }
        await tracker.add(widget);
      } else {
        const { plotSelection } = widget.content;
        for (const name of parseSelection(args).models) {
          if (!plotSelection.value.models.includes(name)) {
            plotSelection.toggle(name);
          }
        }
      }
      activate(shell, widget);
      return widget;
    }
  });

  palette?.addItem({
    command: CommandIDs.dashboard,
    category: trans.__('Inference'),
    args: { isPalette: true }
  });
  launcher?.add({ command: CommandIDs.dashboard, category: trans.__('Other'), rank: 51 });
  void restorer?.restore(tracker, {
    command: CommandIDs.dashboard,
    args: ({ content }) => serializeSelection(content.plotSelection.value),
    name: ({ id }) => id
  });
}
