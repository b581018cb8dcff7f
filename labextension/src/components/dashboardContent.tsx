import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import { Emitter, type ILook } from '../plots';
import { type IModelGroup, groupByModel } from '../service/groupByModel';
import type { IView } from '../service/state';
import type { IServiceModel } from '../tokens';
import type { PlotSelection } from '../ui/plotSelection';
import { MODEL_TONES, modelStateLabel, SERVICE_TONES, serviceStateLabel } from '../ui/labels';
import { State } from './primitives';
import { ModelPlots, PlotsBar } from './modelPlots';
import { useModelToPlot } from './useModelToPlot';
import { useSignal } from './useSignal';

/** What a dashboard needs. */
export interface IDashboardContext {
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  /** Shows the side panel, where models are loaded and the service is started. */
  readonly openPanel: () => void;
  /** Shows the form that sends a request to a model. */
  readonly tryOut: (name: string) => void;
}

interface IContentProps extends IDashboardContext {
  readonly view: IView;
  readonly plotSelection: PlotSelection;
}

/** The content of a dashboard: a toolbar, and a column for each model. */
export function DashboardContent({
  model,
  trans,
  openPanel,
  tryOut,
  view,
  plotSelection
}: IContentProps): JSX.Element {
  const { models, window_s } = useSignal(plotSelection.changed, () => plotSelection.value);
  const [paused, setPaused] = React.useState(false);
  const all = React.useMemo(() => groupByModel(view.models), [view.models]);
  const names = all.map(({ name }) => name);
  const [look] = React.useState(() => new Emitter<ILook>());
  const root = React.useRef<HTMLDivElement>(null);
  const most = useModelToPlot(model, root, null, names, view);
  const columns = models.length > 0 ? models : most === null ? [] : [most];
  /** Whoever looks closer at a model has chosen it. */
  const keep = () => {
    if (models.length === 0 && columns.length > 0) {
      plotSelection.value = { models: columns, window_s };
    }
  };
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
                plotSelection.value = { models: columns, window_s };
                plotSelection.toggle(name);
              }}
            >
              {name}
            </button>
          ))}
        </div>
        <PlotsBar
          trans={trans}
          plotSelection={plotSelection}
          paused={paused}
          onPause={next => {
            keep();
            setPaused(next);
          }}
        />
      </header>
      <Notice view={view} trans={trans} hasModels={names.length > 0} openPanel={openPanel} />
      <div
        ref={root}
        onPointerDown={keep}
        onKeyDown={keep}
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
            onRemove={() => plotSelection.toggle(name)}
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
  readonly entry: IModelGroup | undefined;
  readonly isAway: boolean;
  readonly trans: TranslationBundle;
  readonly onRemove: () => void;
  readonly children: React.ReactNode;
}

/** One model: its state and its plots. */
function Column({ name, entry, isAway, trans, onRemove, children }: IColumnProps): JSX.Element {
  const id = React.useId();
  const tone = entry && !isAway ? MODEL_TONES[entry.current.state] : 'off';
  const word = isAway
    ? trans.__('Waiting for the service')
    : entry
      ? modelStateLabel(trans, entry.current.state)
      : trans.__('Not served any more');
  return (
    <section className="iw-Dashboard-column" aria-labelledby={id}>
      <div className="iw-Dashboard-head">
        <h2 id={id} title={name}>
          {name}
        </h2>
        {entry && <span className="iw-mod-quiet">v{entry.current.version}</span>}
        <State tone={tone} word={word} />
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

/** Says why the figures stand still and what to do; nothing if they should move. */
function Notice({ view, trans, hasModels, openPanel }: INoticeProps): JSX.Element | null {
  const { link, service } = view;
  let words: React.ReactNode;
  if (link.kind === 'missing') {
    words = trans.__('The inference service cannot be reached. The panel says why.');
  } else if (link.kind === 'lost') {
    words = trans.__('Connection to Jupyter lost, retrying: these are the last figures.');
  } else if (service === null) {
    words = trans.__('Looking for the service…');
  } else if (service.state !== 'Ready') {
    const word = trans.__('The service: %1', serviceStateLabel(trans, service.state));
    words = (
      <>
        <State tone={SERVICE_TONES[service.state]} word={word} /> {service.reason}
      </>
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
