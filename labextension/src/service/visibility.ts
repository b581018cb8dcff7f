import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { type ISignal, Signal } from '@lumino/signaling';

/** Whether figures are visible: the page is, and a widget with figures is. */
export interface IVisibility extends IDisposable {
  readonly visible: boolean;
  readonly changed: ISignal<IVisibility, boolean>;
  /** Emitted when the network is back, so that a retry may succeed. */
  readonly online: ISignal<IVisibility, void>;
  /** Registers a visible widget until the result is disposed of. */
  addViewer(): IDisposable;
}

export class Visibility implements IVisibility {
  constructor() {
    document.addEventListener('visibilitychange', this._update);
    window.addEventListener('online', this._online);
  }

  get visible(): boolean {
    return this._visible;
  }

  get changed(): ISignal<this, boolean> {
    return this._changed;
  }

  get online(): ISignal<this, void> {
    return this._onlineSignal;
  }

  addViewer(): IDisposable {
    this._viewers += 1;
    this._update();
    return new DisposableDelegate(() => {
      this._viewers -= 1;
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
    const visible = this._viewers > 0 && document.visibilityState === 'visible';
    if (visible !== this._visible && !this._disposed) {
      this._visible = visible;
      this._changed.emit(visible);
    }
  };

  private readonly _online = () => this._onlineSignal.emit();

  private readonly _changed = new Signal<this, boolean>(this);
  private readonly _onlineSignal = new Signal<this, void>(this);
  private _viewers = 0;
  private _visible = false;
  private _disposed = false;
}
