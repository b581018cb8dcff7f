import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import type { IServiceModel } from '../tokens';

/**
 * Draws figures into the page a few times a second, without React. Visible elements add a `draw` function; all of
 * them run in one animation frame after a tick, and none while the page is hidden.
 */
export class RenderLoop implements IDisposable {
  constructor(private readonly _model: IServiceModel) {
    _model.figuresChanged.connect(this._request, this);
  }

  /** The most drawings per second. */
  perSecond = 4;

  /** Calls `draw` now, and after each tick until disposed of. */
  add(draw: () => void): IDisposable {
    this._draws.add(draw);
    draw();
    return new DisposableDelegate(() => this._draws.delete(draw));
  }

  get isDisposed(): boolean {
    return this._disposed;
  }

  dispose(): void {
    this._disposed = true;
    this._model.figuresChanged.disconnect(this._request, this);
    cancelAnimationFrame(this._handle);
    this._draws.clear();
  }

  private _request(): void {
    if (this._handle === 0 && this._draws.size > 0) {
      this._handle = requestAnimationFrame(this._run);
    }
  }

  private readonly _run = (now: number) => {
    this._handle = 0;
    // Dropped figures are cleared at once. A tick that is a little early does not wait for the next one.
    const due = now - this._drawnAt >= 1000 / this.perSecond - 100;
    if (due || this._model.process === null) {
      this._drawnAt = now;
      this._draws.forEach(draw => draw());
    }
  };

  private readonly _draws = new Set<() => void>();
  private _drawnAt = 0;
  private _handle = 0;
  private _disposed = false;
}
