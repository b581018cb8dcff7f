import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import {
  attach,
  type IAttached,
  type ILivePlots,
  type ILook,
  type IPageStream,
  type IShared,
  type Layout,
  livePlots,
  Slowest,
  WINDOWS
} from '../plots';
import type { PlotSelection } from '../ui/plotSelection';
import { useSignal } from './useSignal';

interface IPlotsProps {
  readonly stream: IPageStream;
  readonly trans: TranslationBundle;
  readonly name: string;
  readonly layout: Layout;
  readonly window_s: number;
  readonly paused: boolean;
  /** Shared by the plots of several models. */
  readonly look?: IShared<ILook>;
  /** Lets the user send a request. */
  readonly onTry: (name: string) => void;
}

/** One model's plots, drawn without React, and the slowest requests at the time that was clicked. */
export const ModelPlots = React.memo(function ModelPlots(props: IPlotsProps): JSX.Element {
  const { stream, trans, name, layout, window_s, paused, look, onTry } = props;
  const node = React.useRef<HTMLDivElement>(null);
  const below = React.useRef<HTMLDivElement>(null);
  const drawn = React.useRef<{ plots: ILivePlots; attached: IAttached } | null>(null);
  const first = React.useRef(window_s);
  first.current = window_s;
  const tryOut = React.useRef(onTry);
  tryOut.current = onTry;
  React.useEffect(() => {
    if (node.current === null || below.current === null) {
      return;
    }
    const plots = livePlots(node.current, {
      model: name,
      trans,
      layout,
      window_s: first.current,
      look,
      onTry: () => tryOut.current(name)
    });
    const attached = attach(node.current, plots, stream, name);
    const slowest = new Slowest({
      trans,
      model: name,
      ask: span => stream.slowest(name, span),
      onClose: () => plots.clearSelection()
    });
    plots.selected.connect(span => void slowest.show(span));
    below.current.replaceChildren(slowest.node);
    drawn.current = { plots, attached };
    return () => {
      drawn.current = null;
      attached.dispose();
      plots.dispose();
      slowest.hide();
      slowest.node.remove();
    };
  }, [stream, trans, name, layout, look]);
  React.useEffect(() => drawn.current?.attached.setWindow(window_s), [window_s, name]);
  React.useEffect(() => drawn.current?.plots.setPaused(paused), [paused, name]);
  return (
    <div className="iw-ModelPlots">
      <div ref={node} />
      <div ref={below} />
    </div>
  );
});

interface IToolbarProps {
  readonly trans: TranslationBundle;
  readonly plotSelection: PlotSelection;
  readonly paused: boolean;
  readonly onPause: (paused: boolean) => void;
}

/** Buttons for the time window and for a pause, which apply to any number of plots. */
export function PlotsBar(props: IToolbarProps): JSX.Element {
  const { trans, plotSelection, paused, onPause } = props;
  const { window_s } = useSignal(plotSelection.changed, () => plotSelection.value);
  return (
    <div className="iw-Plots-bar">
      <span className="iw-Plots-windows" role="group" aria-label={trans.__('Time that is shown')}>
        {WINDOWS.map(seconds => (
          <button
            key={seconds}
            type="button"
            aria-pressed={seconds === window_s}
            onClick={() => {
              plotSelection.value = { ...plotSelection.value, window_s: seconds };
            }}
          >
            {trans.__('%1 min', seconds / 60)}
          </button>
        ))}
      </span>
      <button
        type="button"
        aria-pressed={paused}
        title={trans.__('Pause the plots; figures are still recorded')}
        onClick={() => onPause(!paused)}
      >
        {trans.__('Pause')}
      </button>
    </div>
  );
}
