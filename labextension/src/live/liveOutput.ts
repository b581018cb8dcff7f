import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { PanelLayout, Widget } from '@lumino/widgets';
import { ofPage } from './liveSource';
import { asImage, LiveView } from './liveView';
import type { ITrans } from '../plots/contract';
import type { IServiceModel } from '../tokens';

/** What `%infer watch` leaves in a notebook: docs/jupyter.md, In a cell. */
export const LIVE_MIME = 'application/vnd.infer-workbench.live+json';

const API = 1;

const WIDGET_MIME = 'application/vnd.jupyter.widget-view+json';
const SVG_MIME = 'image/svg+xml';

/** Before the widget's own (-10): it needs the kernel, and this needs none. */
export const RANK = -20;

interface ILive {
  readonly api: number;
  readonly model: string | null;
  readonly window_s: number;
  /** The machine whose service it is of. */
  readonly host: string;
}

/**
 * The output of `%infer watch`: drawn from the page's one stream, also in a notebook whose kernel is gone. Where that
 * cannot be, on another machine's service or without the server extension, it is the widget of the kernel.
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

  /** Called again when the kernel has drawn the picture anew, or changed the model or the window. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    this._choose();
    if (this._view !== null) {
      const live = this._live;
      this._view.setPicture(text(model.data[SVG_MIME]));
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

  /** Whether the page's server tells of the service that this is about; it may turn out later that it does not. */
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
          picture: text(model.data[SVG_MIME])
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

  /** The picture, until the kernel's widget has come to life; it never does where the kernel is another one by now. */
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
  /** The kernel's widget draws it, if it can. */
  private _foreign = false;
}

/** Draw what lies under LIVE_MIME. */
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
 * What draws the outputs around this one: widgets are drawn by the registry of their notebook alone, which knows the
 * kernel. Null: it is not in its place yet.
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

/** Of a notebook's data, which may be text or a list of lines. */
function text(data: unknown): string {
  return Array.isArray(data) ? data.join('') : typeof data === 'string' ? data : '';
}
