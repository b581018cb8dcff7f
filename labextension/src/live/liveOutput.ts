import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { PanelLayout, Widget } from '@lumino/widgets';
import { ofPage } from './liveSource';
import { asImage, LiveView } from './liveView';
import type { ITrans } from '../plots/contract';
import type { IServiceModel } from '../tokens';

/** The output of `%infer watch` in a notebook: docs/jupyter.md, In a cell. */
export const LIVE_MIME = 'application/vnd.infer-workbench.live+json';

const API = 1;

const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
const SVG_MIME = 'image/svg+xml';

/** Preferred over the widget's own renderer (-10), since it needs no kernel. */
export const RANK = -20;

interface ILive {
  readonly api: number;
  readonly model: string | null;
  readonly window_s: number;
  /** The host of the service. */
  readonly host: string;
}

/**
 * Renders the output of `%infer watch` from the page's one stream, even if the notebook's kernel is gone. If that is
 * impossible, as for another machine's service or without the server extension, the kernel's widget is shown.
 */
export class LiveOutput extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly _service: IServiceModel,
    private readonly _trans: ITrans
  ) {
    super();
    this.layout = new PanelLayout();
    _service.stateChanged.connect(this._choose, this);
  }

  /** Called again when the kernel has updated the snapshot, the model or the window. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    this._choose();
    if (this._view !== null) {
      const live = this._live;
      this._view.setSnapshot(text(model.data[SVG_MIME]));
      if (live && this._shown !== JSON.stringify(live)) {
        this._shown = JSON.stringify(live);
        this._view.setModel(live.model);
        this._view.setWindow(live.window_s);
      }
    }
  }

  protected override onAfterAttach(): void {
    this._choose();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._service.stateChanged.disconnect(this._choose, this);
      this._view?.dispose();
      super.dispose();
    }
  }

  private get _live(): ILive | null {
    const live = this._model?.data[LIVE_MIME] as Partial<ILive> | undefined;
    return live?.api === API ? (live as ILive) : null;
  }

  /** Whether the page's server has the service of this output; it may become false later. */
  private get _fits(): boolean {
    const { link, service } = this._service.state;
    const host = service?.host ?? '';
    return this._live !== null && link.kind !== 'missing' && (!host || host === this._live.host);
  }

  private _choose(): void {
    const model = this._model;
    if (model === null || this._foreign) {
      return;
    }
    if (this._fits) {
      if (this._view === null) {
        const live = this._live as ILive;
        this._shown = JSON.stringify(live);
        this._view = new LiveView(this.node, ofPage(this._service), {
          model: live.model,
          window_s: live.window_s,
          trans: this._trans,
          snapshot: text(model.data[SVG_MIME])
        });
      }
    } else {
      const registry = registryOf(this);
      if (registry !== null) {
        this._foreign = true;
        this._view?.dispose();
        this._view = null;
        this._showWidget(model, registry);
      }
    }
  }

  /** Shows the snapshot until the kernel's widget is live, which it never is if the kernel was restarted. */
  private _showWidget(model: IRenderMime.IMimeModel, registry: IRenderMimeRegistry): void {
    this.node.classList.remove('iw-Live');
    this.node.replaceChildren(...asImage(text(model.data[SVG_MIME])));
    if (WIDGET_MIME in model.data && model.trusted) {
      const widget = registry.createRenderer(WIDGET_MIME);
      widget.addClass('iw-LiveOutput-widget');
      (this.layout as PanelLayout).addWidget(widget);
      void widget.renderModel(model);
    }
  }

  private _model: IRenderMime.IMimeModel | null = null;
  private _view: LiveView | null = null;
  private _shown = '';
  /** Whether the kernel's widget has to draw. */
  private _foreign = false;
}

/** Adds the renderer of LIVE_MIME. */
export function addLiveOutput(
  rendermime: IRenderMimeRegistry,
  service: IServiceModel,
  trans: ITrans
): void {
  rendermime.addFactory(
    {
      safe: true,
      mimeTypes: [LIVE_MIME],
      createRenderer: () => new LiveOutput(service, trans)
    },
    RANK
  );
}

/**
 * The registry of the notebook around this output; only it can render widgets, since it knows the kernel. Null
 * until the output is attached.
 */
function registryOf(output: Widget): IRenderMimeRegistry | null {
  for (let place = output.parent; place !== null; place = place.parent) {
    const { rendermime } = place as { rendermime?: IRenderMimeRegistry };
    if (rendermime !== undefined) {
      return rendermime;
    }
  }
  return null;
}

/** Text of a notebook's data, which may be a list of lines. */
function text(data: unknown): string {
  return Array.isArray(data) ? data.join('') : typeof data === 'string' ? data : '';
}
