import { type ISignal, Signal } from '@lumino/signaling';

/** The model that is to be load-tested next, where another part of the page has said so. */
export class Testing {
  /** Emitted when the section is to come into sight. */
  get asked(): ISignal<this, string> {
    return this._asked;
  }

  /** Empty: nobody has said. */
  get model(): string {
    return this._model;
  }

  ask(model: string): void {
    this._model = model;
    this._asked.emit(model);
  }

  private readonly _asked = new Signal<this, string>(this);
  private _model = '';
}
