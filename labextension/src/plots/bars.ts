import * as format from '../ui/format';
import type { ITrans, Layout } from './contract';
import type { IDistribution } from './distribution';
import { element, write } from './dom';
import type { IPalette } from './palette';
import { ceiling, divisions } from './scale';
import type { IExtent } from './valueScale';
import { plotTitle, reasonLabel } from './plotLabels';

/** CSS pixels; the last is the space below the bars, for their labels. */
const HEIGHTS: Readonly<Record<Layout, number>> = { compact: 87, large: 183 };
const SIZES = 15;
const COUNT_AXIS = 52;
const TOP = 13;

/** A bar chart of batches by size, stacked by release reason, on one canvas. */
export class Bars {
  readonly node: HTMLElement;

  constructor(
    private readonly _trans: ITrans,
    private _palette: IPalette
  ) {
    this._legend.append(
      element(
        'span',
        { class: 'iw-Plot-value' },
        element('span', {}, _trans.__('mean rows')),
        this._mean
      )
    );
    this.node = element(
      'figure',
      { class: 'iw-Plot', 'data-plot': 'batches' },
      element(
        'figcaption',
        {},
        element(
          'span',
          {
            class: 'iw-Plot-title',
            title: _trans.__('Batches by how many rows they had, and why they were released')
          },
          plotTitle(_trans, 'batches')
        ),
        this._legend
      ),
      element(
        'div',
        { class: 'iw-Plot-picture' },
        element('p', { class: 'iw-Plot-empty' }, this._empty),
        this._canvas
      )
    );
    this.label = plotTitle(_trans, 'batches'); // until there is something to tell
  }

  set layout(layout: Layout) {
    this._layout = layout;
    this._drawn = '';
  }

  set width(width: number) {
    this._width = width;
  }

  /** The height of the plot without the sizes below; the layout's where undefined. */
  set height(height: number | undefined) {
    this._given = height === undefined ? undefined : height + SIZES;
  }

  set empty(words: string) {
    write(this._empty, words);
  }

  set label(words: string) {
    this._canvas.setAttribute('aria-label', words);
  }

  /** Sets the description for screen readers. */
  words({ batches, rows, reasons, byReason }: IDistribution): string {
    if (batches === 0) {
      return this._trans.__('Batch sizes: no batch was run.');
    }
    const shares = reasons
      .map((reason, i) => [reasonLabel(this._trans, reason), byReason[i] ?? 0] as const)
      .filter(([, count]) => count > 0)
      .map(([word, count]) => `${word} ${percent(count, batches)}`);
    return this._trans.__(
      'Batch sizes: %1 batches of %2 rows on average. Released: %3.',
      batches,
      format.rate(rows / batches),
      shares.join(', ')
    );
  }

  draw(
    shown: IDistribution,
    palette: IPalette,
    shared: (own: IExtent) => IExtent = own => own
  ): void {
    this._palette = palette;
    const own = Math.max(0, ...shown.bars.map(({ total }) => total));
    const { most } = shared({ least: 0, most: own, log: false });
    this._top = ceiling(this._top, most, 4);
    this._writeLegend(shown);
    this._fit();
    const context = this._canvas.getContext('2d');
    if (context === null || this._width <= 0) {
      return;
    }
    const ratio = devicePixelRatio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this._width, this._height);
    this._drawGrid(context, shown.batches > 0);
    this._drawBars(context, shown);
  }

  private get _height(): number {
    return this._given ?? HEIGHTS[this._layout];
  }

  private get _left(): number {
    return this._layout === 'large' ? COUNT_AXIS : 0;
  }

  private get _ground(): number {
    return this._height - SIZES;
  }

  /** The y of a count. */
  private _y(count: number): number {
    return this._ground - ((this._ground - TOP) * count) / this._top;
  }

  /** Draws the ground, and the axis if there is something to count. */
  private _drawGrid(context: CanvasRenderingContext2D, hasAxis: boolean): void {
    const large = this._layout === 'large';
    const marks = hasAxis ? divisions(this._top, large) : [];
    context.strokeStyle = this._palette.grid;
    context.lineWidth = 1;
    context.beginPath();
    for (const count of [0, ...marks]) {
      const y = Math.round(this._y(count)) + 0.5;
      context.moveTo(this._left, y);
      context.lineTo(this._width, y);
    }
    context.stroke();
    context.font = `10px ${this._palette.font}`;
    context.fillStyle = this._palette.quiet;
    context.textBaseline = 'middle';
    if (large && hasAxis) {
      context.textAlign = 'right';
      for (const count of [0, ...marks]) {
        context.fillText(format.rate(count), this._left - 6, this._y(count));
      }
    }
  }

  private _drawBars(context: CanvasRenderingContext2D, { bars, reasons }: IDistribution): void {
    const slot = (this._width - this._left) / Math.max(bars.length, 1);
    const gap = Math.min(3, slot * 0.2);
    const thick = Math.min(slot - gap, 56);
    // With many sizes only every second or third is written.
    const each = Math.max(1, Math.ceil((bars.length > 9 ? 24 : 36) / slot));
    bars.forEach(({ from, to, counts }, i) => {
      const middle = this._left + slot * (i + 0.5);
      const left = Math.round(middle - thick / 2);
      let below = 0;
      counts.forEach((count, reason) => {
        if (count > 0) {
          const bottom = this._y(below);
          below += count;
          const top = this._y(below);
          context.fillStyle = this._palette.ink(reasons[reason] ?? '');
          context.fillRect(left, top, Math.round(thick), Math.max(bottom - top, 0.5));
        }
      });
      if (i % each === 0) {
        context.fillStyle = this._palette.quiet;
        context.textAlign = 'center';
        context.fillText(from === to ? String(from) : `${from}–${to}`, middle, this._ground + 9);
      }
    });
    if (this._layout === 'compact' && bars.length > 0) {
      const text = format.rate(this._top);
      context.textAlign = 'left';
      context.fillStyle = this._palette.quiet;
      context.fillText(text, 2, TOP - 6);
    }
  }

  private _writeLegend({ reasons, byReason, batches, rows }: IDistribution): void {
    write(this._mean, batches > 0 ? format.rate(rows / batches) : format.UNKNOWN);
    reasons.forEach((reason, i) => {
      let entry = this._entries.get(reason);
      if (entry === undefined) {
        const value = element('b', { 'data-series': reason });
        const swatch = element('i', { class: 'iw-Plot-swatch' });
        const node = element(
          'span',
          { class: 'iw-Plot-value' },
          element('span', {}, swatch, reasonLabel(this._trans, reason)),
          value
        );
        entry = { node, swatch, value };
        this._entries.set(reason, entry);
        this._legend.append(node);
      }
      const count = byReason[i] ?? 0;
      entry.node.hidden = count === 0;
      entry.swatch.style.background = this._palette.ink(reason);
      write(entry.value, percent(count, batches));
    });
  }

  /** Resizes the canvas to its displayed size in screen pixels. */
  private _fit(): void {
    const fitted = `${this._width} ${this._height} ${devicePixelRatio}`;
    if (fitted !== this._drawn && this._width > 0) {
      this._drawn = fitted;
      const height = this._height;
      this._canvas.width = Math.round(this._width * devicePixelRatio);
      this._canvas.height = Math.round(height * devicePixelRatio);
      this._canvas.style.width = `${this._width}px`;
      this._canvas.style.height = `${height}px`;
    }
  }

  private readonly _mean = element('b', { 'data-series': 'mean' });
  private readonly _legend = element('span', { class: 'iw-Plot-legend' });
  private readonly _empty = element('span');
  private readonly _canvas = element('canvas', { role: 'img' });
  private readonly _entries = new Map<
    string,
    { node: HTMLElement; swatch: HTMLElement; value: HTMLElement }
  >();
  private _layout: Layout = 'compact';
  private _width = 0;
  private _given: number | undefined;
  private _top = 0;
  private _drawn = '';
}

function percent(count: number, all: number): string {
  return all === 0
    ? ''
    : `${count > 0 && count < all / 200 ? '<1' : Math.round((100 * count) / all)} %`;
}
