import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { type ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import * as React from 'react';
import { showBelow } from './below';
import { isSettled, useWatched } from './components/live';
import { ModelPlots, PlotsBar } from './components/plots';
import { inferenceIcon } from './icons';
import { Emitter, type ILook } from './plots';
import { type IServed, served } from './served';
import type { IView } from './state';
import { CommandIDs, type IServiceModel, NAMESPACE, WidgetIDs } from './tokens';
import { read, shown, Watched, written } from './watched';
import { MODEL_TONES, modelWord, SERVICE_TONES, serviceWord } from './words';

interface IContext {
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  /** Show the side panel, where models are loaded and the service is started. */
  readonly openPanel: () => void;
  /** Show where a request can be sent to a model. */
  readonly tryOut: (name: string) => void;
}

/** Large live plots of some models side by side, in the main area. */
export class Dashboard extends ReactWidget {
  constructor(
    private readonly _context: IContext,
    readonly watched: Watched
  ) {
    super();
    this.addClass('iw-Dashboard');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _context.trans.__('Inference dashboard'));
    _context.model.stateChanged.connect(this._draw, this);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._context.model.stateChanged.disconnect(this._draw, this);
      this._leave();
      super.dispose();
    }
  }

  protected override render(): JSX.Element {
    return <Content {...this._context} view={this._context.model.state} watched={this.watched} />;
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._attend();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._attend();
    this.update();
  }

  protected override onBeforeHide(msg: Message): void {
    this._leave();
    super.onBeforeHide(msg);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._leave();
    super.onBeforeDetach(msg);
  }

  private _attend(): void {
    if (this.isVisible && this._attention === null) {
      this._attention = this._context.model.attend();
    }
  }

  private _leave(): void {
    this._attention?.dispose();
    this._attention = null;
  }

  private _draw(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  private _attention: IDisposable | null = null;
}

interface IContentProps extends IContext {
  readonly view: IView;
  readonly watched: Watched;
}

function Content({ model, trans, openPanel, tryOut, view, watched }: IContentProps): JSX.Element {
  const { models, window_s } = useWatched(watched);
  const [paused, setPaused] = React.useState(false);
  const all = React.useMemo(() => served(view.models), [view.models]);
  const names = all.map(({ name }) => name);
  const [look] = React.useState(() => new Emitter<ILook>());
  const before = React.useRef<string | null>(null);
  if (models.length === 0) {
    before.current = shown(null, before.current, names, isSettled(view), name =>
      model.figures(name)
    );
  }
  const columns = models.length > 0 ? models : before.current === null ? [] : [before.current];
  const isAway = view.service === null || view.service.state !== 'Ready';
  return (
    <>
      <header className="iw-Dashboard-bar">
        <div className="iw-Dashboard-models" role="group" aria-label={trans.__('Models')}>
          {names.map(name => (
            <button
              key={name}
              type="button"
              aria-pressed={columns.includes(name)}
              onClick={() => {
                watched.value = { models: columns, window_s };
                watched.toggle(name);
              }}
            >
              {name}
            </button>
          ))}
        </div>
        <PlotsBar
          trans={trans}
          window_s={window_s}
          paused={paused}
          onWindow={seconds => {
            watched.value = { models, window_s: seconds };
          }}
          onPause={setPaused}
        />
      </header>
      <Notice view={view} trans={trans} hasModels={names.length > 0} openPanel={openPanel} />
      <div
        className={
          isAway || view.link.kind === 'lost'
            ? 'iw-Dashboard-columns iw-mod-away'
            : 'iw-Dashboard-columns'
        }
      >
        {columns.map(name => (
          <Column
            key={name}
            name={name}
            entry={all.find(each => each.name === name)}
            isAway={isAway}
            trans={trans}
            onRemove={() => watched.toggle(name)}
          >
            <ModelPlots
              stream={model}
              trans={trans}
              name={name}
              layout="large"
              window_s={window_s}
              paused={paused}
              look={look}
              onTry={tryOut}
            />
          </Column>
        ))}
      </div>
    </>
  );
}

interface IColumnProps {
  readonly name: string;
  readonly entry: IServed | undefined;
  readonly isAway: boolean;
  readonly trans: TranslationBundle;
  readonly onRemove: () => void;
  readonly children: React.ReactNode;
}

/** One model: what it is, and its plots. */
function Column({ name, entry, isAway, trans, onRemove, children }: IColumnProps): JSX.Element {
  const id = React.useId();
  const tone = entry && !isAway ? MODEL_TONES[entry.current.state] : 'off';
  return (
    <section className="iw-Dashboard-column" aria-labelledby={id}>
      <div className="iw-Dashboard-head">
        <h2 id={id} title={name}>
          {name}
        </h2>
        {entry && <span className="iw-mod-quiet">v{entry.current.version}</span>}
        <span className={`iw-State iw-mod-${tone}`}>
          <span className="iw-State-dot" aria-hidden="true" />
          {isAway
            ? trans.__('Waiting for the service')
            : entry
              ? modelWord(trans, entry.current.state)
              : trans.__('Not served any more')}
        </span>
        {entry?.current.device && <span className="iw-mod-quiet">{entry.current.device}</span>}
        {!entry && !isAway && (
          <button type="button" className="iw-Link" onClick={onRemove}>
            {trans.__('Take it away')}
          </button>
        )}
      </div>
      {children}
    </section>
  );
}

interface INoticeProps {
  readonly view: IView;
  readonly trans: TranslationBundle;
  readonly hasModels: boolean;
  readonly openPanel: () => void;
}

/** Why nothing moves, and where something can be done about it; nothing where all is well. */
function Notice({ view, trans, hasModels, openPanel }: INoticeProps): JSX.Element | null {
  const { link, service } = view;
  let words: string;
  if (link.kind === 'missing') {
    words = trans.__('The inference service cannot be reached. The panel says why.');
  } else if (link.kind === 'lost') {
    words = trans.__('Connection to Jupyter lost: this is what was seen last. It is tried again.');
  } else if (service === null) {
    words = trans.__('Looking for the service…');
  } else if (service.state !== 'Ready') {
    return (
      <p className="iw-Dashboard-notice" role="status">
        <span className={`iw-State iw-mod-${SERVICE_TONES[service.state]}`}>
          <span className="iw-State-dot" aria-hidden="true" />
          {trans.__('The service: %1', serviceWord(trans, service.state))}
        </span>{' '}
        {service.reason}{' '}
        <button type="button" className="iw-Link" onClick={openPanel}>
          {trans.__('Show the panel')}
        </button>
      </p>
    );
  } else if (!hasModels) {
    words = trans.__('No model is served yet. Load one in the panel, and it is drawn here.');
  } else {
    return null;
  }
  return (
    <p className="iw-Dashboard-notice" role="status">
      {words}{' '}
      <button type="button" className="iw-Link" onClick={openPanel}>
        {trans.__('Show the panel')}
      </button>
    </p>
  );
}

export interface IDashboardOptions {
  readonly app: JupyterFrontEnd;
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  readonly palette: ICommandPalette | null;
  readonly launcher: ILauncher | null;
  readonly restorer: ILayoutRestorer | null;
}

/** The command that shows the dashboard, where it is found, and its return with the workspace. */
export function addDashboard(options: IDashboardOptions): void {
  const { app, model, trans, palette, launcher, restorer } = options;
  const { commands, shell } = app;
  const tracker = new WidgetTracker<MainAreaWidget<Dashboard>>({
    namespace: `${NAMESPACE}-dashboard`
  });

  const make = (watched: Watched) => {
    const content = new Dashboard(
      {
        model,
        trans,
        openPanel: () => void commands.execute(CommandIDs.open),
        tryOut: name => void commands.execute(CommandIDs.tryOut, { name })
      },
      watched
    );
    const widget = new MainAreaWidget({ content });
    widget.id = WidgetIDs.dashboard;
    widget.title.label = trans.__('Inference dashboard');
    widget.title.icon = inferenceIcon;
    widget.title.closable = true;
    widget.toolbar.hide();
    watched.changed.connect(() => void tracker.save(widget));
    return widget;
  };

  commands.addCommand(CommandIDs.dashboard, {
    label: args =>
      args['isPalette']
        ? trans.__('Show the Inference Dashboard')
        : trans.__('Inference dashboard'),
    caption: trans.__('Large live plots of the models that are served, side by side'),
    icon: inferenceIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          models: {
            type: 'array',
            items: { type: 'string' },
            description: 'The names of the models to show; the busiest where not given.'
          },
          window_s: { type: 'number', description: 'How far back: 60, 300 or 900 seconds.' }
        }
      }
    },
    execute: async args => {
      let widget = tracker.find(({ isDisposed }) => !isDisposed) ?? null;
      if (widget === null) {
        widget = make(new Watched(read(args)));
        shell.add(widget, 'main', { type: 'Inference Dashboard' });
        if (!widget.isAttached) {
          // Notebook 7 has room for one document in its main area, and for more below.
          showBelow(shell, widget);
        }
        await tracker.add(widget);
      } else {
        const { watched } = widget.content;
        for (const name of read(args).models) {
          if (!watched.value.models.includes(name)) {
            watched.toggle(name);
          }
        }
      }
      shell.activateById(widget.id);
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
    args: ({ content }) => written(content.watched.value),
    name: ({ id }) => id
  });
}
