import { type ISignal, Signal } from '@lumino/signaling';

/** The model that is to be load-tested next, where another part of the page has said so. */
export class LoadtestTarget {
  /** Emitted when the section is to come into sight. */
  get requested(): ISignal<this, string> {
    return this._requested;
  }

  /** Empty: nobody has said. */
  get model(): string {
    return this._model;
  }

  ask(model: string): void {
    this._model = model;
    this._requested.emit(model);
  }

  private readonly _requested = new Signal<this, string>(this);
  private _model = '';
}
