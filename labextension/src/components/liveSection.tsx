import { launcherIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import type { PlotName } from '../plots';
import { groupByModel } from '../service/groupByModel';
import type { IView } from '../service/state';
import { CommandIDs } from '../tokens';
import { IconButton, Section } from './primitives';
import { useReveal, usePanel } from './panelContext';
import { ModelPlots, PlotsBar } from './modelPlots';
import { useModelToPlot } from './useModelToPlot';
import { usePause } from './usePause';
import { useSignal } from './useSignal';

/** The live plots of one model, selected here or by a click on its card. */
export function LiveSection({ view }: { view: IView }): JSX.Element {
  const { model, trans, commands, plotSelection } = usePanel();
  const { models, window_s } = useSignal(plotSelection.changed, () => plotSelection.value);
  const names = React.useMemo(
    () => groupByModel(view.models).map(({ name }) => name),
    [view.models]
  );
  const root = useReveal('live', plotSelection.requested);
  const chosen = models[0] ?? null;
  const name = useModelToPlot(model, root, chosen, names, view);
  const isChosen = name === chosen;
  const { paused, keep, onPause } = usePause(plotSelection, name === null ? [] : [name]);
  const tryOut = React.useCallback(
    (tried: string) => void commands.execute(CommandIDs.tryOut, { name: tried }),
    [commands]
  );
  const openPlot = React.useCallback(
    (plotted: string, plot: PlotName) =>
      void commands.execute(CommandIDs.plot, { name: plotted, plot }),
    [commands]
  );
  const isAway = view.service !== null && view.service.state !== 'Ready';
  return (
    <Section
      name="live"
      title={trans.__('Live')}
      actions={
        <IconButton
          icon={launcherIcon}
          label={trans.__('Show the dashboard')}
          disabled={!commands.isEnabled(CommandIDs.dashboard)}
          onClick={() =>
            void commands.execute(CommandIDs.dashboard, name === null ? {} : { models: [name] })
          }
        />
      }
    >
      {name === null ? (
        <p className="iw-Text iw-mod-quiet">
          {view.service === null
            ? trans.__('Looking for the service…')
            : isAway
              ? trans.__('The service does not run: live figures are drawn here once it is Ready.')
              : trans.__('Load a model, and its live figures are drawn here.')}
        </p>
      ) : (
        <div ref={root} className="iw-LiveSection">
          <div className="iw-LiveSection-bar">
            <select
              className="iw-LiveSection-model"
              aria-label={trans.__('Model whose figures are drawn')}
              value={isChosen ? name : ''}
              onChange={({ target: { value } }) => {
                plotSelection.value = {
                  ...plotSelection.value,
                  models: value === '' ? [] : [value]
                };
              }}
            >
              <option value="">
                {isChosen ? trans.__('The one asked most') : trans.__('Asked most: %1', name)}
              </option>
              {isChosen && !names.includes(name) && <option value={name}>{name}</option>}
              {names.map(each => (
                <option key={each}>{each}</option>
              ))}
            </select>
            <PlotsBar
              trans={trans}
              plotSelection={plotSelection}
              paused={paused}
              onPause={onPause}
            />
          </div>
          {isAway && (
            <p className="iw-Text iw-mod-quiet">
              {trans.__('The service is away: these are its last figures.')}
            </p>
          )}
          <div
            className={isAway ? 'iw-LivePlots iw-mod-away' : 'iw-LivePlots'}
            onPointerDown={keep}
            onKeyDown={keep}
          >
            <ModelPlots
              stream={model}
              trans={trans}
              name={name}
              layout="compact"
              window_s={window_s}
              paused={paused}
              onTry={tryOut}
              onOpen={commands.hasCommand(CommandIDs.plot) ? openPlot : undefined}
            />
          </div>
        </div>
      )}
    </Section>
  );
}
