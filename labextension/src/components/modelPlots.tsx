import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import {
  attach,
  type IAttached,
  type IDocked,
  type ILivePlots,
  type ILook,
  type IPageStream,
  type IScale,
  type IShared,
  LATENCY_SCALES,
  type LatencyScale,
  type Layout,
  type ListDock,
  livePlots,
  type PlotHeight,
  type PlotName,
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
  /** All where not given. Must not change. */
  readonly plots?: readonly PlotName[];
  readonly height?: PlotHeight | undefined;
  readonly scale?: IScale | undefined;
  /** The place for the list of slow requests; below the plots where not given. */
  readonly dock?: ListDock | null;
  /** Lets the user send a request. */
  readonly onTry: (name: string) => void;
  /** Shows one plot in a tab. */
  readonly onOpen?: ((name: string, plot: PlotName) => void) | undefined;
}

/** One model's plots, drawn without React, and the slowest requests at the time that was clicked. */
export const ModelPlots = React.memo(function ModelPlots(props: IPlotsProps): JSX.Element {
  const { stream, trans, name, layout, window_s, paused, look, plots: shown, dock, onTry } = props;
  const node = React.useRef<HTMLDivElement>(null);
  const below = React.useRef<HTMLDivElement>(null);
  const drawn = React.useRef<{ plots: ILivePlots; attached: IAttached } | null>(null);
  const first = React.useRef(window_s);
  first.current = window_s;
  const tryOut = React.useRef(onTry);
  tryOut.current = onTry;
  const open = React.useRef(props.onOpen);
  open.current = props.onOpen;
  const canOpen = props.onOpen !== undefined;
  const height = React.useRef(props.height);
  height.current = props.height;
  const scale = React.useRef(props.scale);
  scale.current = props.scale;
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
      plots: shown,
      height: height.current,
      scale: scale.current,
      onTry: () => tryOut.current(name),
      onOpen: canOpen ? plot => open.current?.(name, plot) : undefined
    });
    const attached = attach(node.current, plots, stream, name);
    const slowest = new Slowest({
      trans,
      model: name,
      ask: span => stream.slowest(name, span),
      onClose: () => plots.clearSelection(),
      isDocked: Boolean(dock)
    });
    const list: IDocked = {
      node: slowest.node,
      hide: () => {
        slowest.hide();
        plots.clearSelection();
      }
    };
    const root = node.current;
    plots.selected.connect(span => {
      void slowest.show(span);
      dock?.put(list, root.querySelector('.iw-Plot-picture:hover') ?? root);
    });
    if (!dock) {
      below.current.replaceChildren(slowest.node);
    }
    drawn.current = { plots, attached };
    return () => {
      drawn.current = null;
      attached.dispose();
      dock?.remove(list);
      plots.dispose();
      slowest.hide();
      slowest.node.remove();
    };
  }, [stream, trans, name, layout, look, shown, dock, canOpen]);
  React.useEffect(() => drawn.current?.attached.setWindow(window_s), [window_s, name]);
  React.useEffect(() => drawn.current?.plots.setPaused(paused), [paused, name]);
  React.useEffect(() => drawn.current?.plots.setHeight(props.height), [props.height, name]);
  React.useEffect(() => {
    if (props.scale !== undefined) {
      drawn.current?.plots.setScale(props.scale);
    }
  }, [props.scale, name]);
  return (
    <div className="iw-ModelPlots">
      <div ref={node} />
      <div ref={below} />
    </div>
  );
});

interface IChoiceProps {
  readonly trans: TranslationBundle;
  readonly plotSelection: PlotSelection;
}

/** The choice of the scale of latency. */
export function LatencyChoice({ trans, plotSelection }: IChoiceProps): JSX.Element {
  const { latency } = useSignal(plotSelection.changed, () => plotSelection.value);
  const words: Readonly<Record<LatencyScale, string>> = {
    auto: trans.__('Latency: automatic'),
    linear: trans.__('Latency: linear'),
    log: trans.__('Latency: logarithmic')
  };
  return (
    <select
      aria-label={trans.__('Scale of latency')}
      title={trans.__('Automatic is logarithmic where p99 is over 20 times p50')}
      value={latency}
      onChange={({ target: { value } }) => {
        const chosen = LATENCY_SCALES.find(each => each === value) ?? 'auto';
        plotSelection.value = { ...plotSelection.value, latency: chosen };
      }}
    >
      {LATENCY_SCALES.map(each => (
        <option key={each} value={each}>
          {words[each]}
        </option>
      ))}
    </select>
  );
}

/** The choice whether the plots of all models have the same scales. */
export function SharedChoice({ trans, plotSelection }: IChoiceProps): JSX.Element {
  const { shared } = useSignal(plotSelection.changed, () => plotSelection.value);
  return (
    <button
      type="button"
      aria-pressed={shared}
      title={trans.__('The plots of all models have the same scales, so that they can be compared')}
      onClick={() => {
        plotSelection.value = { ...plotSelection.value, shared: !shared };
      }}
    >
      {trans.__('Same scales')}
    </button>
  );
}

interface IToolbarProps {
  readonly trans: TranslationBundle;
  readonly plotSelection: PlotSelection;
  readonly paused: boolean;
  readonly onPause: (paused: boolean) => void;
  /** Further choices. */
  readonly children?: React.ReactNode;
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
      {props.children}
    </div>
  );
}
