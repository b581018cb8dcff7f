import { type ISignal, Signal } from '@lumino/signaling';

/** The model to load-test next, as another part of the page selected it. */
export class LoadtestTarget {
  /** Emitted when the section should be scrolled into view. */
  get requested(): ISignal<this, string> {
    return this._requested;
  }

  /** Empty if none is selected. */
  get model(): string {
    return this._model;
  }

  select(model: string): void {
    this._model = model;
    this._requested.emit(model);
  }

  private readonly _requested = new Signal<this, string>(this);
  private _model = '';
}
