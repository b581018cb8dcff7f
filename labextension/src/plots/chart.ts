import uPlot from 'uplot';
import { clock, UNKNOWN } from '../ui/format';
import type { ISpan, Layout } from './contract';
import { element, write } from './dom';
import type { IPalette } from './palette';
import { columns, line } from './paths';
import { type ResampledSeries, stack } from './resampledSeries';
import { ceiling, divisions, timeMarks } from './scale';
import { decades, type IExtent } from './valueScale';
import type { Column } from './timeline';
import type { IPlot } from './plotLabels';

/** CSS pixels. */
const HEIGHTS: Readonly<Record<Layout, number>> = { compact: 72, large: 168 };
/** Above the plot, for a label that would else lie on the data. */
const ABOVE = 13;
const TIME_AXIS = 15;
const VALUE_AXIS = 52;

const NONE = new Float32Array(0);

/** Receives pointer events of any chart, for all charts share one time axis. */
export interface IPointer {
  /** The pointer is at this fraction of the width; null if it left. */
  hover(fraction: number | null): void;
  select(span: ISpan): void;
  /** A click at a time. */
  pick(time: number): void;
}

/** What all charts share when they are drawn. */
export interface IScene {
  readonly series: ResampledSeries;
  readonly palette: IPalette;
  readonly selected: ISpan | null;
}

/** One plot over time: a caption with values, and a canvas that is reused for each drawing. */
export class Chart {
  readonly node: HTMLElement;

  constructor(
    readonly plot: IPlot,
    private readonly _withTime: boolean,
    private readonly _pointer: IPointer,
    private _scene: IScene,
    private readonly _restarted: string,
    logWords: string
  ) {
    const drawn = plot.lines.map(({ column, ink, label }) => {
      const swatch = element('i', { class: 'iw-Plot-swatch', 'data-ink': ink });
      return this._value(column, label, swatch);
    });
    const told = (plot.told ?? []).map(({ column, label }) => this._value(column, label));
    // Captions list the front line first; stacked layers keep the order of time.
    const shown = plot.stacked ? drawn : drawn.reverse();
    const holder = element(
      'div',
      { class: 'iw-Plot-picture' },
      element('p', { class: 'iw-Plot-empty' }, this._empty),
      this._at
    );
    this.node = element(
      'figure',
      { class: 'iw-Plot', 'data-plot': plot.name },
      element(
        'figcaption',
        {},
        element('span', { class: 'iw-Plot-title', title: plot.hint }, plot.title),
        this._logMark,
        element('span', { class: 'iw-Plot-legend' }, ...told, ...shown)
      ),
      holder
    );
    this._logMark.textContent = logWords;
    this._logs = plot.stacked ? [] : plot.lines.map(() => new Float32Array(1024));
    this._stacks = plot.stacked ? plot.lines.map(() => new Float32Array(1024)) : [];
    this._u = this._make(holder);
    this._canvas = this._u.ctx.canvas as HTMLCanvasElement;
    this._canvas.setAttribute('role', 'img');
    this.label = plot.title; // until there is something to tell
  }

  set layout(layout: Layout) {
    this._layout = layout;
    this._resize();
  }

  /** The height of the plot without its times; the layout's where undefined. */
  set height(height: number | undefined) {
    if (height !== this._height) {
      this._height = height;
      this._resize();
    }
  }

  set width(width: number) {
    if (width !== this._width && width > 0) {
      this._width = width;
      this._resize();
    }
  }

  /** Shows a text in place of an empty plot. */
  sayEmpty(words: string): void {
    write(this._empty, words);
  }

  /** Sets the description for screen readers. */
  set label(words: string) {
    this._canvas.setAttribute('aria-label', words);
  }

  get label(): string {
    return this._canvas.getAttribute('aria-label') ?? '';
  }

  /** Writes the values into the caption. */
  write(value: (column: Column) => number): void {
    for (const [column, node] of this._values) {
      const known = value(column);
      write(node, Number.isNaN(known) ? UNKNOWN : this.plot.unit(known));
    }
  }

  /**
   * Draws what is in the scene.
   *
   * @param isLog - whether a scale for these values is logarithmic, given what it was before
   * @param shared - what other plots on the same scale have to show as well
   */
  draw(
    scene: IScene,
    isLog: (was: boolean) => boolean,
    shared: (own: IExtent) => IExtent = own => own
  ): void {
    this._scene = scene;
    const { series } = scene;
    let most = 0;
    let least = 0;
    let ys: Float32Array[];
    if (this.plot.stacked) {
      ys = this._stacks.map(array => array.subarray(0, series.length));
      stack(
        this.plot.lines.map(({ column }) => series.columns[column]),
        ys
      );
      for (const value of ys[ys.length - 1] ?? []) {
        most = value > most ? value : most;
      }
    } else {
      ys = this.plot.lines.map(({ column }) => series.columns[column]);
      most = Math.max(...this.plot.lines.map(({ column }) => series.most(column)));
      this._wantsLog = isLog(this._wantsLog);
      least = this._wantsLog ? Math.min(...ys.map(leastOf)) : 0;
    }
    const extent = shared({
      least: Number.isFinite(least) ? least : 0,
      most,
      log: this._wantsLog
    });
    this._decades =
      extent.log && extent.least > 0 ? decades(extent.least, extent.most * 1.02) : null;
    this._logMark.hidden = this._decades === null;
    if (this._decades !== null) {
      ys = ys.map((values, i) => {
        const scaled = (this._logs[i] as Float32Array).subarray(0, values.length);
        values.forEach((value, j) => (scaled[j] = this._place(value)));
        return scaled;
      });
    }
    this._top = ceiling(this._top, extent.most, this.plot.least);
    this._isBlank = most === 0;
    this._writeAxis();
    const data = this._isBlank ? [NONE, ...ys.map(() => NONE)] : [series.time, ...ys];
    // Draws at once: uPlot would wait for a microtask and return old positions until then.
    this._u.batch(() => this._u.setData(data as unknown as uPlot.AlignedData));
  }

  /** Marks a point, with `time` above it if not empty; -1 removes the mark. */
  point(index: number, time: string): void {
    const { series } = this._scene;
    const isThere = index >= 0 && index < series.length;
    const left = isThere ? this._u.valToPos(series.time[index] as number, 'x') : -10;
    this._u.setCursor({ left, top: isThere ? 1 : -10 });
    this._at.hidden = !isThere || time === '';
    if (!this._at.hidden) {
      write(this._at, time);
      // Keeps the text inside the plot on both sides.
      const right = this._width - 26;
      const x = Math.min(Math.max(left + this._u.over.offsetLeft, 26), right);
      this._at.style.transform = `translate(${Math.round(x)}px, 0) translate(-50%, 0)`;
    }
  }

  /** Call it after a change of colours. */
  retheme(): void {
    for (const swatch of this.node.querySelectorAll<HTMLElement>('.iw-Plot-swatch')) {
      swatch.style.background = this._scene.palette.ink(swatch.dataset['ink'] ?? '');
    }
    this._u.redraw(false);
  }

  destroy(): void {
    this._u.destroy();
  }

  private _value(column: Column, label: string, ...swatch: readonly HTMLElement[]): HTMLElement {
    const value = element('b', { 'data-series': column });
    this._values.push([column, value]);
    return element(
      'span',
      { class: 'iw-Plot-value' },
      element('span', {}, ...swatch, label),
      value
    );
  }

  private _make(parent: HTMLElement): uPlot {
    const { lines, stacked } = this.plot;
    const ink = (i: number) => this._scene.palette.ink(lines[i - 1]?.ink ?? '');
    const isAlone = lines.length === 1;
    const width = () => this._scene.series.part_s * 1.6;
    const series: uPlot.Series[] = lines.map((_, k) =>
      stacked
        ? {
            auto: false,
            fill: (_u, i) => ink(i),
            paths: columns(k, width),
            points: { show: false }
          }
        : {
            auto: false,
            stroke: (_u, i) => ink(i),
            width: k === lines.length - 1 ? 1.5 : 1.1,
            cap: 'round',
            ...(isAlone ? { fill: (_u: uPlot, i: number) => faint(ink(i)) } : {}),
            paths: line,
            points: { show: false }
          }
    );
    const u = new uPlot(
      {
        width: 300,
        height: HEIGHTS.compact,
        padding: [
          ABOVE,
          0,
          () => (this._hasTime ? TIME_AXIS : 1),
          () => (this._layout === 'large' ? VALUE_AXIS : 0)
        ],
        legend: { show: false },
        scales: {
          x: { time: false, range: () => [this._scene.series.since, this._scene.series.until] },
          y: { range: () => [this._place(0), this._place(this._end)] }
        },
        axes: [{ show: false }, { show: false }],
        series: [{}, ...series],
        cursor: {
          y: false,
          points: {
            show: !stacked,
            size: 6,
            fill: (_u, i) => ink(i),
            stroke: () => this._scene.palette.ground,
            width: 1
          },
          dataIdx: (u, i, index) =>
            i > 0 && Number.isNaN(u.data[i]?.[index] as number) ? null : index,
          drag: { x: true, y: false, setScale: false, dist: 6 }
        },
        hooks: {
          drawClear: [() => this._drawGround()],
          draw: [() => this._drawLabels()],
          setSelect: [
            ({ select: { left, width } }) => {
              if (width > 0) {
                this._isDragged = true;
                const since = this._u.posToVal(left, 'x');
                const until = this._u.posToVal(left + width, 'x');
                this._u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
                this._pointer.select({ since, until });
              }
            }
          ]
        }
      },
      [
        new Float64Array(0),
        ...lines.map(() => new Float32Array(0))
      ] as unknown as uPlot.AlignedData,
      parent
    );
    const { over } = u;
    over.addEventListener('mousemove', event => {
      // A browser also sends this where the pointer stands still and the page below it changed.
      if (event.movementX !== 0 || event.movementY !== 0) {
        this._pointer.hover(event.offsetX / Math.max(over.clientWidth, 1));
      }
    });
    over.addEventListener('mouseleave', () => this._pointer.hover(null));
    over.addEventListener('mousedown', () => {
      this._isDragged = false;
    });
    over.addEventListener('click', event => {
      // Browsers send a click at the end of a drag too.
      if (!this._isDragged) {
        this._pointer.pick(u.posToVal(event.offsetX, 'x'));
      }
    });
    return u;
  }

  /** Where a value is on the axis, in the axis' own unit: the value, or the power of ten. */
  private _place(value: number): number {
    const [first] = this._decades ?? [];
    return first === undefined ? value : Math.log10(Math.max(value, first));
  }

  /** The value at the end of the axis. */
  private get _end(): number {
    return this._decades?.at(-1) ?? this._top;
  }

  /** The values that are marked along the axis, without its beginning. */
  private get _marks(): readonly number[] {
    return this._isBlank
      ? []
      : (this._decades?.slice(1) ?? divisions(this._top, this._layout === 'large'));
  }

  /** Notes on the canvas which values its axis has. */
  private _writeAxis(): void {
    const [first = 0] = this._decades ?? [];
    const ends = `${first === 0 ? 'linear 0' : `log ${first}`} ${this._end}`;
    if (this._canvas.dataset['axis'] !== ends) {
      this._canvas.dataset['axis'] = ends;
    }
  }

  /** The height of a value in pixels of the canvas. */
  private _y(value: number): number {
    return this._u.valToPos(this._place(value), 'y', true);
  }

  private _resize(): void {
    const extra = this._hasTime ? TIME_AXIS : 0;
    const height = this._height ?? HEIGHTS[this._layout];
    this._u.setSize({ width: this._width, height: height + extra });
  }

  private get _hasTime(): boolean {
    return this._withTime || this._layout === 'large';
  }

  /** Draws below the lines: the grid and the selection. */
  private _drawGround(): void {
    const { ctx, bbox } = this._u;
    const { series, palette, selected } = this._scene;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.lineWidth = Math.max(1, Math.round(ratio));
    ctx.strokeStyle = palette.grid;
    ctx.beginPath();
    const across = (y: number) => {
      const at = Math.round(y) + 0.5;
      ctx.moveTo(bbox.left, at);
      ctx.lineTo(bbox.left + bbox.width, at);
    };
    across(bbox.top + bbox.height);
    for (const value of this._marks) {
      across(this._y(value));
    }
    ctx.stroke();
    if (selected !== null && selected.until > series.since) {
      const left = Math.max(bbox.left, this._u.valToPos(selected.since, 'x', true));
      const right = this._u.valToPos(selected.until, 'x', true);
      ctx.fillStyle = palette.quiet;
      ctx.globalAlpha = 0.18;
      ctx.fillRect(left, bbox.top, Math.max(right - left, 2 * ratio), bbox.height);
    }
    ctx.restore();
  }

  /** Draws above the lines: axis labels, times and restarts of the service. */
  private _drawLabels(): void {
    const { ctx, bbox } = this._u;
    const { series, palette } = this._scene;
    const ratio = uPlot.pxRatio;
    const large = this._layout === 'large';
    ctx.save();
    ctx.font = `${10 * ratio}px ${palette.font}`;
    ctx.textBaseline = 'middle';
    const write = (text: string, x: number, y: number) => {
      if (!large) {
        ctx.strokeStyle = palette.ground;
        ctx.lineWidth = 3 * ratio;
        ctx.lineJoin = 'round';
        ctx.strokeText(text, x, y);
      }
      ctx.fillStyle = palette.quiet;
      ctx.fillText(text, x, y);
    };
    if (this._isBlank) {
      // An axis would be made up: nothing was measured that it could show.
    } else if (large) {
      ctx.textAlign = 'right';
      const [first = 0] = this._decades ?? [];
      const least = first > 0 ? this.plot.unit(first) : '0';
      write(least, bbox.left - 6 * ratio, bbox.top + bbox.height);
      for (const value of this._marks) {
        write(this.plot.unit(value), bbox.left - 6 * ratio, this._y(value));
      }
    } else {
      ctx.textAlign = 'left';
      write(this.plot.unit(this._end), bbox.left + 2 * ratio, bbox.top - 6 * ratio);
    }
    if (this._hasTime && series.until > 0) {
      this._drawTimes(write);
    }
    series.restarts.forEach((time, i) => {
      const x = Math.round(this._u.valToPos(time, 'x', true)) + 0.5;
      if (x < bbox.left) {
        return;
      }
      ctx.strokeStyle = palette.quiet;
      ctx.lineWidth = Math.max(1, Math.round(ratio));
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.setLineDash([]);
      if (this.plot.name === 'throughput' && i === series.restarts.length - 1) {
        const room = ctx.measureText(this._restarted).width + 8 * ratio;
        const isRight = x + room < bbox.left + bbox.width;
        ctx.textAlign = isRight ? 'left' : 'right';
        write(this._restarted, x + (isRight ? 4 : -4) * ratio, bbox.top - 6 * ratio);
      }
    });
    ctx.restore();
  }

  private _drawTimes(write: (text: string, x: number, y: number) => void): void {
    const { ctx, bbox } = this._u;
    const { since, until } = this._scene.series;
    const ratio = uPlot.pxRatio;
    const digits = until - since > 300 ? 'minutes' : 'seconds';
    const half = (digits === 'minutes' ? 15 : 24) * ratio;
    const room = digits === 'minutes' ? 64 : 84;
    const y = bbox.top + bbox.height + 9 * ratio;
    ctx.textAlign = 'center';
    for (const mark of timeMarks(since, until, bbox.width / ratio, room)) {
      const x = this._u.valToPos(mark, 'x', true);
      // Leaves out a time that would be cut off.
      if (x >= bbox.left + half && x <= bbox.left + bbox.width - half) {
        write(clock(mark, digits), x, y);
      }
    }
  }

  private readonly _u: uPlot;
  private readonly _canvas: HTMLCanvasElement;
  private readonly _empty = element('span');
  private readonly _at = element('span', { class: 'iw-Plot-at', hidden: '' });
  private readonly _values: [Column, HTMLElement][] = [];
  private readonly _stacks: readonly Float32Array[];
  private _layout: Layout = 'compact';
  /** Whether the last click ended a drag. */
  private _isDragged = false;
  private _width = 0;
  private _height: number | undefined;
  private _top = 0;
  /** The powers of ten of a logarithmic axis; null if it is linear. */
  private _decades: readonly number[] | null = null;
  private _wantsLog = false;
  /** Whether there is no value above 0: nothing is drawn but the ground. */
  private _isBlank = true;
  private readonly _logMark = element('span', { class: 'iw-Plot-log', hidden: '' });
  private readonly _logs: readonly Float32Array[];
}

/** The smallest value above 0; Infinity if there is none. */
function leastOf(values: Float32Array): number {
  return values.reduce((least, value) => (value > 0 && value < least ? value : least), Infinity);
}

/** A colour at an eighth of its opacity. */
function faint(hex: string): string {
  return /^#[0-9a-f]{6}$/i.test(hex) ? `${hex}22` : hex;
}
