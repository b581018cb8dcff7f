import { ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import type { IServiceModel } from '../tokens';

/** Pays attention to the model while it is shown, and draws nothing while it is not. */
export abstract class AttentiveWidget extends ReactWidget {
  constructor(private readonly _model: IServiceModel) {
    super();
    _model.stateChanged.connect(this.draw, this);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._model.stateChanged.disconnect(this.draw, this);
      this._leave();
      super.dispose();
    }
  }

  /** Where anybody sees it. */
  protected draw(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._attend();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._attend();
    this.update();
  }

  protected override onBeforeHide(msg: Message): void {
    this._leave();
    super.onBeforeHide(msg);
  }

  protected override onBeforeDetach(msg: Message): void {
    this._leave();
    super.onBeforeDetach(msg);
  }

  private _attend(): void {
    if (this.isVisible && this._attention === null) {
      this._attention = this._model.attend();
    }
  }

  private _leave(): void {
    this._attention?.dispose();
    this._attention = null;
  }

  private _attention: IDisposable | null = null;
}
