import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import {
  type ICommandPalette,
  InputDialog,
  MainAreaWidget,
  WidgetTracker
} from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import type { IPlotTabContext } from '../components/plotTabContent';
import { PLOTS, type PlotName } from '../plots/contract';
import { plotTitle } from '../plots/plotLabels';
import { LATENCY_SCALES } from '../plots/valueScale';
import { groupByModel } from '../service/groupByModel';
import { CommandIDs, type IServiceModel, WidgetIDs } from '../tokens';
import { activate, showInDownArea } from './downArea';
import { plotIcon } from './icons';
import { parsePlot, placeOf } from './plotPlace';
import { parseSelection, PlotSelection } from './plotSelection';
import { VisibleWidget } from './visibleWidget';

/** Loaded with the first plot. */
const Content = React.lazy(async () => ({
  default: (await import('../components/plotTabContent')).PlotTabContent
}));

/** A widget of the main area with a single live plot of one model. */
export class PlotTab extends VisibleWidget {
  constructor(readonly context: IPlotTabContext) {
    super(context.model);
    this.addClass('iw-PlotTab');
    this.node.setAttribute('role', 'region');
    const [plot] = context.plots;
    const { trans, name } = context;
    this.node.setAttribute('aria-label', trans.__('%1 of %2', plotTitle(trans, plot), name));
  }

  protected override render(): JSX.Element {
    return (
      <React.Suspense fallback={null}>
        <Content {...this.context} view={this.context.model.state} />
      </React.Suspense>
    );
  }
}

export interface IPlotTabOptions {
  readonly app: JupyterFrontEnd;
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  readonly palette: ICommandPalette | null;
  readonly restorer: ILayoutRestorer | null;
}

/** Adds the command that opens one plot of a model in a tab, and restores such tabs with the workspace. */
export function addPlotTabs({ app, model, trans, palette, restorer }: IPlotTabOptions): void {
  const { commands, shell } = app;
  const tracker = new WidgetTracker<MainAreaWidget<PlotTab>>({ namespace: WidgetIDs.plot });

  const make = (name: string, plot: PlotName, args: unknown, id: string) => {
    const plotSelection = new PlotSelection({ ...parseSelection(args), models: [name] });
    const content = new PlotTab({
      model,
      trans,
      name,
      plots: [plot],
      plotSelection,
      openPanel: () => void commands.execute(CommandIDs.open),
      tryOut: tried => void commands.execute(CommandIDs.tryOut, { name: tried })
    });
    const widget = new MainAreaWidget({ content });
    widget.id = id;
    widget.title.label = trans.__('%1 of %2', plotTitle(trans, plot), name);
    widget.title.icon = plotIcon;
    widget.title.closable = true;
    widget.toolbar.hide();
    plotSelection.changed.connect(() => void tracker.save(widget));
    return widget;
  };

  /** Shows a new tab: beside what is open, and below another plot where there is room. */
  const show = (widget: MainAreaWidget<PlotTab>) => {
    const open: MainAreaWidget<PlotTab>[] = [];
    tracker.forEach(each => each.isVisible && open.push(each));
    const last = open[open.length - 1];
    const place = placeOf(
      last === undefined ? null : { id: last.id, height: last.node.offsetHeight },
      shell.currentWidget?.id ?? null
    );
    shell.add(widget, 'main', { ...place, type: 'Inference Plot' });
    if (!widget.isAttached) {
      // Notebook 7 has one document in its main area.
      showInDownArea(shell, widget);
    }
  };

  const whichPlot = async (given: unknown): Promise<PlotName | null> => {
    const known = parsePlot(given);
    if (known !== null) {
      return known;
    }
    const title = trans.__('Open a plot');
    const items = PLOTS.map(plot => plotTitle(trans, plot));
    const { value } = await InputDialog.getItem({ title, items, okLabel: trans.__('Next') });
    return PLOTS[items.indexOf(value ?? '')] ?? null;
  };

  const whichModel = async (given: unknown): Promise<string | null> => {
    if (typeof given === 'string' && given !== '') {
      return given;
    }
    const items = groupByModel(model.state.models).map(({ name }) => name);
    const title = trans.__('Of which model?');
    return (await InputDialog.getItem({ title, items, okLabel: trans.__('Open') })).value;
  };

  commands.addCommand(CommandIDs.plot, {
    label: args =>
      args['isPalette'] ? trans.__('Open a Live Plot in a Tab…') : trans.__('Inference plot'),
    caption: trans.__('One live plot of a model in a tab of its own, to be docked where you like'),
    icon: plotIcon,
    isEnabled: args => Boolean(args['name']) || model.state.models.length > 0,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          name: { type: 'string', description: 'The name of a model; asked for where not given.' },
          plot: {
            type: 'string',
            enum: [...PLOTS],
            description: 'Which plot; asked for where not given.'
          },
          window_s: { type: 'number', description: 'How far back: 60, 300 or 900 seconds.' },
          latency: {
            type: 'string',
            enum: [...LATENCY_SCALES],
            description: 'How latency is scaled.'
          }
        }
      }
    },
    execute: async args => {
      const plot = await whichPlot(args['plot']);
      const name = plot === null ? null : await whichModel(args['name']);
      if (plot === null || name === null) {
        return undefined;
      }
      const id = `${WidgetIDs.plot}-${plot}-${name}`;
      let widget = tracker.find(each => each.id === id && !each.isDisposed) ?? null;
      if (widget === null) {
        widget = make(name, plot, args, id);
        show(widget);
        await tracker.add(widget);
      }
      activate(shell, widget);
      return widget;
    }
  });
  model.stateChanged.connect(() => commands.notifyCommandChanged(CommandIDs.plot));

  palette?.addItem({
    command: CommandIDs.plot,
    category: trans.__('Inference'),
    args: { isPalette: true }
  });
  void restorer?.restore(tracker, {
    command: CommandIDs.plot,
    args: ({ content: { context } }) => ({
      name: context.name,
      plot: context.plots[0],
      window_s: context.plotSelection.value.window_s,
      latency: context.plotSelection.value.latency
    }),
    name: ({ id }) => id
  });
}
