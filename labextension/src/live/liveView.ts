import {
  ENGLISH,
  type ILivePlots,
  type ITrans,
  type IWant,
  type IWatch,
  type WatchedFrame,
  livePlots,
  WINDOWS
} from '../plots';
import { element, write } from '../plots/dom';
import { busiest, modelNames, idleReason } from './modelChoice';
import type { ISource } from './liveSource';

export interface ILiveViewOptions {
  /** Null for the busiest. */
  readonly model: string | null;
  readonly window_s: number;
  readonly trans?: ITrans;
  /** An SVG snapshot of the saved notebook, shown until live figures come. */
  readonly snapshot?: string;
}

/** One model's live plots with their controls, for the output of a cell. It receives nothing while out of view. */
export class LiveView {
  constructor(
    private readonly _node: HTMLElement,
    private readonly _source: ISource,
    options: ILiveViewOptions
  ) {
    this._trans = options.trans ?? ENGLISH;
    const trans = this._trans;
    this._model = options.model;
    this._window_s = options.window_s;
    this._name = element('select', { class: 'iw-Live-name', 'aria-label': trans.__('Model') });
    this._window = element('select', { 'aria-label': trans.__('Time shown') });
    this._pause = element('button', { type: 'button', 'aria-pressed': 'false' }, trans.__('Pause'));
    this._words = element('p', { class: 'iw-Live-words', role: 'status' });
    this._plotsNode = element('div');
    this._snapshot = element('div');
    const head = element('div', { class: 'iw-Live-head' }, this._name, this._window, this._pause);
    _node.classList.add('iw-Live');
    _node.replaceChildren(head, this._words, this._snapshot, this._plotsNode);
    this.setSnapshot(options.snapshot ?? '');
    this._name.onchange = () => this.setModel(this._name.value || null);
    this._window.onchange = () => this.setWindow(Number(this._window.value));
    this._pause.onclick = () => this._setPaused(!this._paused);
    this._offerWindows();
    this._ended.push(_source.changed.connect(() => this._update()));
    this._sight.observe(_node);
    this._theme.observe(document.body, { attributes: true });
    this._draw();
    this._update();
  }

  /** Shows another model; null for the busiest. */
  setModel(model: string | null): void {
    if (model !== this._model) {
      this._model = model;
      this._draw();
      this._update();
      this._updateWatch();
    }
  }

  setWindow(seconds: number): void {
    if (seconds !== this._window_s) {
      this._window_s = seconds;
      this._offerWindows();
      this._plots?.setWindow(seconds);
      this._updateWatch();
    }
  }

  /** Replaces the SVG snapshot; empty for none. */
  setSnapshot(svg: string): void {
    this._snapshot.replaceChildren(...asImage(svg));
  }

  dispose(): void {
    this._sight.disconnect();
    this._theme.disconnect();
    clearTimeout(this._rethemed);
    this._ended.forEach(end => end());
    this._watch?.dispose();
    this._plots?.dispose();
    this._node.replaceChildren();
  }

  /** The model that is drawn: the requested one, else the one found to be the busiest. */
  private get _shown(): string | null {
    return this._model ?? this._busiest;
  }

  private get _want(): IWant {
    return { model: this._shown ?? '', window_s: this._window_s };
  }

  private _updateWatch(): void {
    this._watch?.update(this._want);
  }

  private readonly _onFrame = (frame: WatchedFrame) => {
    if (frame.type === 'history' && this._model === null && this._busiest === null) {
      this._setBusiest(busiest(frame));
    }
    if (frame.type === 'figures' && this._shown === null) {
      this._setBusiest(Object.keys(frame.models)[0] ?? null);
    }
    const shown = this._shown;
    if (shown === null || this._plots === null) {
      return;
    }
    if (frame.type === 'history') {
      this._plots.setHistory(frame);
    } else {
      this._plots.push(frame);
    }
    this._live ||= shown in frame.models;
    this._show();
  };

  private _setBusiest(name: string | null): void {
    if (name !== null) {
      this._busiest = name;
      this._draw();
      this._update();
      this._updateWatch();
    }
  }

  /** Creates the plots of the model that is shown. */
  private _draw(): void {
    this._plots?.dispose();
    this._plots = null;
    this._live = false;
    const model = this._shown;
    if (model !== null) {
      this._plots = livePlots(this._plotsNode, {
        model,
        trans: this._trans,
        window_s: this._window_s,
        layout: 'compact'
      });
      this._plots.setPaused(this._paused);
    }
    this._show();
  }

  private _update(): void {
    const { view } = this._source;
    write(this._words, idleReason(this._trans, view, this._shown));
    const shown = this._shown;
    const offered = [...new Set([...(shown === null ? [] : [shown]), ...modelNames(view)])].sort();
    const known = Array.from(this._name.options, ({ value }) => value);
    if (offered.join('\n') !== known.join('\n')) {
      this._name.replaceChildren(...offered.map(name => element('option', { value: name }, name)));
    }
    this._name.value = shown ?? '';
    this._name.hidden = offered.length === 0;
  }

  /** Replaces the snapshot by the plots once there is a live frame. */
  private _show(): void {
    this._snapshot.hidden = this._live;
    this._plotsNode.hidden = !this._live && this._snapshot.childElementCount > 0;
  }

  private _offerWindows(): void {
    const trans = this._trans;
    const offered = [...new Set([...WINDOWS, this._window_s])].sort((a, b) => a - b);
    this._window.replaceChildren(
      ...offered.map(seconds =>
        element(
          'option',
          { value: String(seconds) },
          seconds % 60 === 0 ? trans.__('%1 min', seconds / 60) : trans.__('%1 s', seconds)
        )
      )
    );
    this._window.value = String(this._window_s);
  }

  private _setPaused(paused: boolean): void {
    this._paused = paused;
    this._pause.setAttribute('aria-pressed', String(paused));
    this._plots?.setPaused(paused);
  }

  private _setInSight(inSight: boolean): void {
    if (inSight && this._watch === null) {
      this._watch = this._source.watch(this._want, this._onFrame);
    } else if (!inSight && this._watch !== null) {
      this._watch.dispose();
      this._watch = null;
    }
  }

  private readonly _trans: ITrans;
  private readonly _name: HTMLSelectElement;
  private readonly _window: HTMLSelectElement;
  private readonly _pause: HTMLButtonElement;
  private readonly _words: HTMLElement;
  private readonly _snapshot: HTMLElement;
  private readonly _plotsNode: HTMLElement;
  private readonly _ended: (() => void)[] = [];
  private readonly _sight = new IntersectionObserver(entries =>
    this._setInSight(entries.at(-1)?.isIntersecting ?? false)
  );
  /** A theme changes attributes of the body first; its colours may follow a little later. */
  private readonly _theme = new MutationObserver(() => {
    clearTimeout(this._rethemed);
    this._plots?.retheme();
    this._rethemed = setTimeout(() => this._plots?.retheme(), 500);
  });
  private _rethemed: ReturnType<typeof setTimeout> | undefined;
  private _model: string | null;
  private _busiest: string | null = null;
  private _window_s: number;
  private _paused = false;
  /** Whether a frame had the model that is shown. */
  private _live = false;
  private _plots: ILivePlots | null = null;
  private _watch: IWatch | null = null;
}

/** The SVG as an image, so that no script in it runs, whatever the notebook's origin. */
export function asImage(svg: string): HTMLElement[] {
  const src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  const alt = /aria-label='([^']*)'/.exec(svg)?.[1] ?? '';
  return svg ? [element('img', { src, alt: plain(alt), class: 'iw-Live-picture' })] : [];
}

function plain(escaped: string): string {
  return new DOMParser().parseFromString(escaped, 'text/html').body.textContent ?? '';
}
