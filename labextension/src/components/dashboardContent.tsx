import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import { Emitter, type ILook, type PlotName, SharedScales } from '../plots';
import { type IModelGroup, groupByModel } from '../service/groupByModel';
import type { IView } from '../service/state';
import type { IServiceModel } from '../tokens';
import type { PlotSelection } from '../ui/plotSelection';
import { DashboardModels } from './dashboardModels';
import { LatencyChoice, ModelPlots, PlotsBar, SharedChoice } from './modelPlots';
import { isAway, ModelState, ServiceNotice } from './serviceNotice';
import { useListDock } from './useListDock';
import { useModelToPlot } from './useModelToPlot';
import { usePause } from './usePause';
import { usePlotHeight } from './usePlotHeight';
import { useSignal } from './useSignal';

/** What a dashboard needs. */
export interface IDashboardContext {
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  /** Shows the side panel, where models are loaded and the service is started. */
  readonly openPanel: () => void;
  /** Shows the form that sends a request to a model. */
  readonly tryOut: (name: string) => void;
  /** Shows one plot of a model in a tab of its own. */
  readonly openPlot: (name: string, plot: PlotName) => void;
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
  openPlot,
  view,
  plotSelection
}: IContentProps): JSX.Element {
  const { models, window_s, latency, shared } = useSignal(
    plotSelection.changed,
    () => plotSelection.value
  );
  const all = React.useMemo(() => groupByModel(view.models), [view.models]);
  const names = all.map(({ name }) => name);
  const [look] = React.useState(() => new Emitter<ILook>());
  const scale = React.useMemo(
    () => ({ latency, shared: shared ? new SharedScales() : null }),
    [latency, shared]
  );
  const [dock, scroller, place] = useListDock();
  const height = usePlotHeight(scroller);
  const most = useModelToPlot(model, scroller, null, names, view);
  const columns = models.length > 0 ? models : most === null ? [] : [most];
  const { paused, keep, onPause } = usePause(plotSelection, columns);
  const away = isAway(view);
  return (
    <>
      <header className="iw-Dashboard-bar">
        <DashboardModels
          trans={trans}
          names={names}
          shown={columns}
          onToggle={name => {
            plotSelection.value = { ...plotSelection.value, models: columns };
            plotSelection.toggle(name);
          }}
        />
        <PlotsBar trans={trans} plotSelection={plotSelection} paused={paused} onPause={onPause}>
          <LatencyChoice trans={trans} plotSelection={plotSelection} />
          <SharedChoice trans={trans} plotSelection={plotSelection} />
        </PlotsBar>
      </header>
      <ServiceNotice view={view} trans={trans} hasModels={names.length > 0} openPanel={openPanel} />
      <div className="iw-Docked">
        <div
          ref={scroller}
          onPointerDown={keep}
          onKeyDown={keep}
          className={
            away || view.link.kind === 'lost'
              ? 'iw-Dashboard-columns iw-mod-away'
              : 'iw-Dashboard-columns'
          }
        >
          {dock &&
            columns.map(name => (
              <Column
                key={name}
                name={name}
                entry={all.find(each => each.name === name)}
                away={away}
                trans={trans}
                onRemove={() => plotSelection.toggle(name)}
              >
                <ModelPlots
                  stream={model}
                  trans={trans}
                  name={name}
                  layout="large"
                  height={height}
                  scale={scale}
                  window_s={window_s}
                  paused={paused}
                  look={look}
                  dock={dock}
                  onTry={tryOut}
                  onOpen={openPlot}
                />
              </Column>
            ))}
        </div>
        <aside ref={place} className="iw-Docked-list" />
      </div>
    </>
  );
}

interface IColumnProps {
  readonly name: string;
  readonly entry: IModelGroup | undefined;
  readonly away: boolean;
  readonly trans: TranslationBundle;
  readonly onRemove: () => void;
  readonly children: React.ReactNode;
}

/** One model: its state and its plots. */
function Column({ name, entry, away, trans, onRemove, children }: IColumnProps): JSX.Element {
  const id = React.useId();
  return (
    <section className="iw-Dashboard-column" aria-labelledby={id}>
      <div className="iw-Dashboard-head">
        <h2 id={id} title={name}>
          {name}
        </h2>
        <ModelState trans={trans} entry={entry} away={away} />
        {!entry && !away && (
          <button type="button" className="iw-Link" onClick={onRemove}>
            {trans.__('Take it away')}
          </button>
        )}
      </div>
      {children}
    </section>
  );
}
