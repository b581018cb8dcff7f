import type { IFigures, IHistory } from '../service/wire';
import { Bars } from './bars';
import { Chart, type IPointer, type IScene } from './chart';
import {
  ENGLISH,
  type ILivePlots,
  type ILivePlotsOptions,
  type IScale,
  type ISpan,
  type Layout,
  type PlotHeight,
  type PlotName,
  PLOTS
} from './contract';
import { distribution, type IDistribution } from './distribution';
import { element, write, writeCodeText } from './dom';
import { Emitter } from './emitter';
import { openButton } from './openButton';
import { palette } from './palette';
import { resample, ResampledSeries } from './resampledSeries';
import { clock } from '../ui/format';
import { type Column, COLUMNS, Timeline } from './timeline';
import { type IExtent, isFarApart, median } from './valueScale';
import { emptyText, describePlot, idleText, plotOf, windowText } from './plotLabels';

/** Captions show figures over this time, so that a model called twice a second does not flicker between 0 and 8. */
const NOW_S = 2;

/** The server's percentiles cover this time, so the cause of a spike may have ended before it. */
const LOOKBACK_S = 2;

/** How often the description for screen readers is updated. */
const WORDS_MS = 15_000;

/** The least width of a column and the gap between columns in CSS pixels, as in plots.css. */
const COLUMN = 340;
const GAP = 24;

/** Latency up from 0, and no other model's plots to compare with. */
const ALONE: IScale = { latency: 'linear', shared: null };

/** CSS pixels: the least height of a plot that fills its place, the space around its caption, and below for the times. */
const LEAST_HEIGHT = 60;
const CAPTION_GAP = 16;
const BELOW = 16;

/** The hovered place: a fraction of the width, which stays while the plot moves, or a time, which moves with the plot. */
type Hover =
  | { readonly kind: 'pointer'; readonly fraction: number }
  | { readonly kind: 'time'; readonly time: number }
  | null;

/** Draws the live figures of one model into `node`, which belongs to them until disposed of. */
export function livePlots(node: HTMLElement, options: ILivePlotsOptions): ILivePlots {
  return new LivePlots(node, options);
}

class LivePlots implements ILivePlots, IPointer {
  constructor(
    private readonly _node: HTMLElement,
    private readonly _options: ILivePlotsOptions
  ) {
    const { model, plots = PLOTS, layout = 'compact', window_s = 60 } = _options;
    this._timeline = new Timeline(model);
    this._window_s = window_s;
    this._height = _options.height;
    this._scale = _options.scale ?? ALONE;
    this._scene = {
      series: new ResampledSeries(),
      palette: palette(_node, _options.colours),
      selected: null
    };
    const overTime = plots.filter(name => name !== 'batches');
    for (const name of plots) {
      if (name === 'batches') {
        this._bars = new Bars(this._trans, this._scene.palette);
        this._add(name, this._bars.node);
      } else {
        const isLast = name === overTime[overTime.length - 1];
        const plot = plotOf(this._trans, name);
        const restarted = this._trans.__('restarted');
        const logWords = this._trans.__('log scale');
        const chart = new Chart(plot, isLast, this, this._scene, restarted, logWords);
        this._charts.push(chart);
        this._add(name, chart.node);
      }
    }
    _node.classList.add('iw-Plots');
    _node.append(this._grid, this._said);
    this._grid.setAttribute('role', 'group');
    this._grid.setAttribute('tabindex', '0');
    this._grid.setAttribute(
      'aria-label',
      this._trans.__(
        'Live figures of %1. Arrow keys move through time, Enter lists the slowest requests of a moment.',
        model
      )
    );
    this._grid.addEventListener('keydown', event => this._key(event));
    this._grid.addEventListener('blur', () => this._leave());
    this._unlook = _options.look?.connect(({ by, time }) => {
      if (by !== this) {
        this._hoverAt(time === null ? null : { kind: 'time', time });
      }
    });
    this._grid.append(this._idle);
    this._sight.observe(this._grid);
    this._room.observe(this._grid);
    this._room.observe(_node);
    this._themes.observe(document.body, { attributes: true, attributeFilter: THEME_MARKS });
    this.setLayout(layout);
    this.retheme();
  }

  get window_s(): number {
    return this._window_s;
  }

  get paused(): boolean {
    return this._pausedAt !== null;
  }

  readonly selected = new Emitter<ISpan>();

  setHistory(history: IHistory): void {
    this._timeline.mergeHistory(history);
    this._request();
  }

  push(figures: IFigures): void {
    this._timeline.push(figures);
    this._request();
  }

  setWindow(seconds: number): void {
    this._window_s = seconds;
    this._wordsAt = 0;
    this._request();
  }

  setPaused(paused: boolean): void {
    this._pausedAt = paused ? (this._pausedAt ?? this._timeline.last) : null;
    this._request();
  }

  setLayout(layout: Layout): void {
    this._node.classList.toggle('iw-mod-large', layout === 'large');
    this._measure();
    for (const chart of this._charts) {
      chart.layout = layout;
    }
    if (this._bars) {
      this._bars.layout = layout;
    }
    this._request();
  }

  setHeight(height: PlotHeight | undefined): void {
    this._height = height;
    this._measure();
    this._request();
  }

  setScale(scale: IScale): void {
    this._scale.shared?.remove(this);
    this._scale = scale;
    this._request();
  }

  retheme(): void {
    this._scene = { ...this._scene, palette: palette(this._node, this._options.colours) };
    this._rethemed = true;
    this._request();
  }

  dispose(): void {
    cancelAnimationFrame(this._frame);
    this._disposed = true;
    this._sight.disconnect();
    this._room.disconnect();
    this._themes.disconnect();
    this._unlook?.();
    this._scale.shared?.remove(this);
    this._charts.forEach(chart => chart.destroy());
    this.selected.clear();
    this._node.classList.remove('iw-Plots', 'iw-mod-large');
    this._node.replaceChildren();
  }

  hover(fraction: number | null): void {
    if (fraction === null) {
      // A browser also says that the pointer left when it stood still and the page moved: a time chosen by keys stays.
      if (this._hover?.kind === 'pointer') {
        this._leave();
      }
      return;
    }
    const { since, until } = this._scene.series;
    this._hoverAt({ kind: 'pointer', fraction });
    this._tell(since + fraction * (until - since));
  }

  select(span: ISpan): void {
    this._scene = { ...this._scene, selected: span };
    this.selected.emit(span);
    this._request();
  }

  clearSelection(): void {
    this._scene = { ...this._scene, selected: null };
    this._request();
  }

  pick(time: number): void {
    const { series } = this._scene;
    const at = series.nearest(time);
    if (at >= 0) {
      const until = series.time[at] as number;
      this.select({ since: until - series.part_s - LOOKBACK_S, until });
    }
  }

  private get _trans() {
    return this._options.trans ?? ENGLISH;
  }

  /** Adds the figure of a plot, with a button that shows it in a place of its own if there is one. */
  private _add(name: PlotName, figure: HTMLElement): void {
    const { onOpen, model } = this._options;
    const title = figure.querySelector('.iw-Plot-title');
    if (onOpen !== undefined && title !== null) {
      const label = this._trans.__('Open %1 of %2 in a tab', title.textContent ?? '', model);
      title.after(openButton(label, () => onOpen(name)));
    }
    this._grid.append(figure);
  }

  /** Draws in the next animation frame, if visible. */
  private _request(): void {
    this._isOld = true;
    this._schedule();
  }

  private _schedule(): void {
    if (this._frame === 0 && this._isSeen && !this._disposed) {
      this._frame = requestAnimationFrame(() => {
        this._frame = 0;
        if (this._isOld) {
          this._isOld = false;
          this._draw();
        } else {
          this._drawHover();
        }
      });
    }
  }

  private _draw(): void {
    const { series } = this._scene;
    series.take(this._timeline, this._window_s, this._pausedAt ?? this._timeline.last);
    for (const chart of this._charts) {
      chart.draw(this._scene, was => this._isLog(chart, was), this._shared(chart.plot.name));
      this._sayEmpty(chart);
      if (this._rethemed) {
        chart.retheme();
      }
    }
    this._rethemed = false;
    this._sayIdle();
    this._drawHover();
    this._describe();
  }

  private _isLog({ plot }: Chart, was: boolean): boolean {
    const { latency } = this._scale;
    if (plot.name !== 'latency' || latency !== 'auto') {
      return plot.name === 'latency' && latency === 'log';
    }
    const { series } = this._scene;
    return isFarApart(was, series.most('p99_s'), median(series.columns.p50_s));
  }

  private _shared(plot: PlotName): ((own: IExtent) => IExtent) | undefined {
    const { shared } = this._scale;
    return shared === null ? undefined : own => shared.merge(plot, this, own);
  }

  private _sayEmpty(chart: Chart): void {
    chart.sayEmpty(emptyText(this._trans, chart.plot.name, this._scene.series));
  }

  /** Shows a sentence in place of all plots of a model that nobody asked. */
  private _sayIdle(): void {
    const { model, onTry } = this._options;
    const words = idleText(this._trans, model, this._scene.series, this._window_s);
    this._grid.classList.toggle('iw-mod-idle', words !== '');
    this._idle.hidden = words === '';
    if (words !== '') {
      writeCodeText(this._idleWords, words);
      if (onTry !== undefined) {
        this._try.hidden = false;
        write(this._try, this._trans.__('Try it'));
        this._try.onclick = onTry;
      }
    }
  }

  /** Writes the values at the hovered time, else the current ones, into the captions and the bars. */
  private _drawHover(): void {
    const { series } = this._scene;
    const at = this._hovered();
    const time = at < 0 ? '' : clock(series.time[at] as number, 'seconds');
    this._charts.forEach((chart, i) => chart.point(at, i === 0 ? time : ''));
    const now = at < 0 ? this._now() : series.columns;
    for (const chart of this._charts) {
      chart.write(column => now[column][Math.max(at, 0)] ?? NaN);
    }
    if (this._bars) {
      this._distribution = this._distributionOf(at);
      this._bars.draw(this._distribution, this._scene.palette, this._shared('batches'));
      this._bars.empty =
        this._distribution.batches > 0 || series.length === 0
          ? ''
          : this._trans.__('No batch was run');
    }
  }

  private _now(): Record<Column, Float32Array> {
    const until = this._pausedAt ?? this._timeline.last;
    const end = this._timeline.after(until);
    const first = this._timeline.after(until - NOW_S);
    resample(this._timeline, first, end, this._latest, 0);
    return this._latest;
  }

  private _distributionOf(at: number): IDistribution {
    const { series } = this._scene;
    const until = at < 0 ? series.until : (series.time[at] as number);
    const since = at < 0 ? series.since : until - Math.max(series.part_s, NOW_S);
    return distribution(this._timeline, this._timeline.after(since), this._timeline.after(until));
  }

  private _hoverAt(hover: Hover): void {
    this._hover = hover;
    this._schedule();
  }

  private _leave(): void {
    this._hoverAt(null);
    this._tell(null);
  }

  /** Tells the hovered time to the plots of other models. */
  private _tell(time: number | null): void {
    this._options.look?.emit({ by: this, time });
  }

  /** The index of the hovered point; -1 if there is none. */
  private _hovered(): number {
    const { series } = this._scene;
    if (this._hover === null) {
      return -1;
    }
    return series.nearest(
      this._hover.kind === 'time'
        ? this._hover.time
        : series.since + this._hover.fraction * (series.until - series.since)
    );
  }

  private _key(event: KeyboardEvent): void {
    const { series } = this._scene;
    const steps: Readonly<Record<string, number>> = {
      ArrowLeft: -1,
      ArrowRight: 1,
      PageUp: -10,
      PageDown: 10,
      Home: -Infinity,
      End: Infinity
    };
    const step = steps[event.key];
    const here = this._hovered();
    if (step !== undefined && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const by = Math.max(-series.length, Math.min(series.length, step));
      const from = here < 0 ? series.nearest(series.until) : here;
      const at = here < 0 && step === -1 ? from : series.step(from, by);
      if (at >= 0) {
        const time = (series.time[at] as number) - series.part_s / 2;
        this._hoverAt({ kind: 'time', time });
        this._tell(time);
        this._say(at);
      }
    } else if (event.key === 'Enter' && here >= 0 && event.target === this._grid) {
      this.pick(series.time[here] as number);
    } else if (event.key === 'Escape' && this._hover !== null) {
      this._leave();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** Announces the values of a point to screen readers. */
  private _say(at: number): void {
    const { series } = this._scene;
    const values = this._charts.flatMap(({ plot }) =>
      plot.lines
        .map(({ column, label }) => [label, series.columns[column][at] as number] as const)
        .filter(([, value]) => !Number.isNaN(value))
        .map(([label, value]) => `${label} ${plot.unit(value)}`)
    );
    write(this._said, `${clock(series.time[at] as number, 'seconds')}: ${values.join(', ')}`);
  }

  /** Describes the plots for screen readers; only now and then, since an update per tick would drown the rest. */
  private _describe(): void {
    const now = performance.now();
    if (this._wordsAt !== 0 && now - this._wordsAt < WORDS_MS) {
      return;
    }
    this._wordsAt = now;
    const { model } = this._options;
    for (const chart of this._charts) {
      chart.label = describePlot(
        this._trans,
        chart.plot,
        model,
        this._scene.series,
        this._window_s
      );
    }
    if (this._bars && this._distribution) {
      const window = windowText(this._trans, this._window_s);
      this._bars.label = this._trans.__(
        '%1 In the %2.',
        this._bars.words(this._distribution),
        window
      );
    }
  }

  private _measure(): void {
    const room = this._grid.clientWidth;
    const columns = Math.max(1, Math.floor((room + GAP) / (COLUMN + GAP)));
    const shared = Math.min(columns, this._charts.length + (this._bars ? 1 : 0));
    const width = Math.floor((room - GAP * (shared - 1)) / shared);
    this._grid.style.setProperty('--iw-plot-columns', String(shared));
    const height = this._height === 'fill' ? this._heightToFill() : this._height;
    for (const chart of this._charts) {
      chart.width = width;
      chart.height = height;
    }
    if (this._bars) {
      this._bars.width = width;
      this._bars.height = height;
    }
  }

  /** What the node leaves for the picture of its one plot, below the caption and above the times. */
  private _heightToFill(): number {
    const caption = this._grid.querySelector('figcaption');
    const above = caption === null ? 0 : caption.offsetHeight + CAPTION_GAP;
    return Math.max(LEAST_HEIGHT, this._node.clientHeight - above - BELOW);
  }

  private readonly _timeline: Timeline;
  private readonly _unlook: (() => void) | undefined;
  private _scene: IScene;
  private readonly _charts: Chart[] = [];
  private _bars: Bars | null = null;
  private _distribution: IDistribution | null = null;
  private readonly _grid = element('div', { class: 'iw-Plots-grid' });
  private readonly _idleWords = element('span');
  private readonly _try = element('button', { type: 'button', hidden: '' });
  private readonly _idle = element(
    'p',
    { class: 'iw-Plots-idle', hidden: '' },
    this._idleWords,
    this._try
  );
  private readonly _said = element('span', { class: 'iw-Plots-said', 'aria-live': 'polite' });
  private readonly _latest = Object.fromEntries(
    COLUMNS.map(name => [name, new Float32Array(1)])
  ) as Record<Column, Float32Array>;
  private readonly _sight = new IntersectionObserver(entries => {
    this._isSeen = entries[entries.length - 1]?.isIntersecting ?? false;
    this._request();
  });
  private readonly _room = new ResizeObserver(() => {
    this._measure();
    this._request();
  });
  private readonly _themes = new MutationObserver(() => this.retheme());
  private _window_s: number;
  private _height: PlotHeight | undefined;
  private _scale: IScale;
  private _pausedAt: number | null = null;
  private _hover: Hover = null;
  private _isSeen = false;
  /** Whether more than the hover has changed since the last drawing. */
  private _isOld = true;
  private _rethemed = false;
  private _wordsAt = 0;
  private _frame = 0;
  private _disposed = false;
}

/** The attributes of the body that change with the theme of JupyterLab, VS Code or Notebook. */
const THEME_MARKS = [
  'data-jp-theme-name',
  'data-jp-theme-light',
  'data-vscode-theme-id',
  'class',
  'style'
];
