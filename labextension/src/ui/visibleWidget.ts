import { ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import type { IServiceModel } from '../tokens';

/** A widget that is a viewer of the model while it is visible, and renders only then. */
export abstract class VisibleWidget extends ReactWidget {
  constructor(private readonly _model: IServiceModel) {
    super();
    _model.stateChanged.connect(this.draw, this);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._model.stateChanged.disconnect(this.draw, this);
      this._stopViewing();
      super.dispose();
    }
  }

  /** Renders the widget if it is visible. */
  protected draw(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._startViewing();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._startViewing();
    this.update();
  }

  protected override onBeforeHide(msg: Message): void {
    this._stopViewing();
    super.onBeforeHide(msg);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._stopViewing();
    super.onBeforeDetach(msg);
  }

  private _startViewing(): void {
    if (this.isVisible && this._viewer === null) {
      this._viewer = this._model.addViewer();
    }
  }

  private _stopViewing(): void {
    this._viewer?.dispose();
    this._viewer = null;
  }

  private _viewer: IDisposable | null = null;
}
