import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

/** Whether someone looks: a widget that shows figures is open, and so is the page it is on. */
export interface IAttention extends IDisposable {
  readonly paid: boolean;
  readonly changed: ISignal<IAttention, boolean>;
  /** The network came back: what failed may work now. */
  readonly online: ISignal<IAttention, void>;
  /** Until disposed of. */
  pay(): IDisposable;
}

export class Attention implements IAttention {
  constructor() {
    document.addEventListener('visibilitychange', this._update);
    window.addEventListener('online', this._online);
  }

  get paid(): boolean {
    return this._paid;
  }

  get changed(): ISignal<this, boolean> {
    return this._changed;
  }

  get online(): ISignal<this, void> {
    return this._onlineSignal;
  }

  pay(): IDisposable {
    this._payers += 1;
    this._update();
    return new DisposableDelegate(() => {
      this._payers -= 1;
      this._update();
    });
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    if (!this._disposed) {
      this._disposed = true;
      document.removeEventListener('visibilitychange', this._update);
      window.removeEventListener('online', this._online);
      Signal.clearData(this);
    }
  }

  private readonly _update = () => {
    const paid = this._payers > 0 && document.visibilityState === 'visible';
    if (paid !== this._paid && !this._disposed) {
      this._paid = paid;
      this._changed.emit(paid);
    }
  };

  private readonly _online = () => this._onlineSignal.emit();

  private readonly _changed = new Signal<this, boolean>(this);
  private readonly _onlineSignal = new Signal<this, void>(this);
  private _payers = 0;
  private _paid = false;
  private _disposed = false;
}
