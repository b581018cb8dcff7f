import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import type { PlotName } from '../plots';
import { groupByModel } from '../service/groupByModel';
import type { IView } from '../service/state';
import type { IServiceModel } from '../tokens';
import type { PlotSelection } from '../ui/plotSelection';
import { LatencyChoice, ModelPlots, PlotsBar } from './modelPlots';
import { useListDock } from './useListDock';
import { useSignal } from './useSignal';
import { isAway, ModelState, ServiceNotice } from './serviceNotice';

/** What a tab with a single plot needs. */
export interface IPlotTabContext {
  readonly model: IServiceModel;
  readonly trans: TranslationBundle;
  readonly openPanel: () => void;
  readonly tryOut: (name: string) => void;
  readonly name: string;
  readonly plots: readonly [PlotName];
  readonly plotSelection: PlotSelection;
}

/** One plot of one model, as high as its tab, with its window and the list of slow requests at its side. */
export function PlotTabContent(props: IPlotTabContext & { readonly view: IView }): JSX.Element {
  const { model, trans, openPanel, tryOut, name, plots, plotSelection, view } = props;
  const { window_s, latency } = useSignal(plotSelection.changed, () => plotSelection.value);
  const [paused, setPaused] = React.useState(false);
  const [dock, room, place] = useListDock();
  const away = isAway(view);
  const scale = React.useMemo(() => ({ latency, shared: null }), [latency]);
  const entry = groupByModel(view.models).find(each => each.name === name);
  return (
    <>
      <header className="iw-PlotTab-bar">
        <h2 className="iw-PlotTab-name" title={name}>
          {name}
        </h2>
        <ModelState trans={trans} entry={entry} away={away} />
        <PlotsBar trans={trans} plotSelection={plotSelection} paused={paused} onPause={setPaused}>
          {plots[0] === 'latency' && <LatencyChoice trans={trans} plotSelection={plotSelection} />}
        </PlotsBar>
      </header>
      <ServiceNotice view={view} trans={trans} hasModels={true} openPanel={openPanel} />
      <div className="iw-Docked">
        <div
          ref={room}
          className={`iw-PlotTab-plot${away || view.link.kind === 'lost' ? ' iw-mod-away' : ''}`}
        >
          {dock && (
            <ModelPlots
              stream={model}
              trans={trans}
              name={name}
              plots={plots}
              layout="large"
              height="fill"
              scale={scale}
              window_s={window_s}
              paused={paused}
              dock={dock}
              onTry={tryOut}
            />
          )}
        </div>
        <aside ref={place} className="iw-Docked-list" />
      </div>
    </>
  );
}
