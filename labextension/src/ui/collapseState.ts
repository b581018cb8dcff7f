import { type ISignal, Signal } from '@lumino/signaling';

/** So many are remembered: models come and go. */
const MOST = 300;

/** What the user has folded and unfolded in the panel, by name: 'models', 'log', 'try:digits'. */
export class CollapseState {
  /** Emitted at each change; with false where it was not the user's. */
  get changed(): ISignal<this, boolean> {
    return this._changed;
  }

  /** Null: the user has not said, and it is as it is by default. */
  get(name: string): boolean | null {
    return this._open.get(name) ?? null;
  }

  set(name: string, open: boolean): void {
    this._open.delete(name);
    this._open.set(name, open);
    const [oldest] = this._open.keys();
    if (this._open.size > MOST && oldest !== undefined) {
      this._open.delete(oldest);
    }
    this._changed.emit(true);
  }

  /** To be kept, and given to `restore` in a later page. */
  save(): { [name: string]: boolean } {
    return Object.fromEntries(this._open);
  }

  /** What was saved, for whatever the user has not said anew; anything else is passed over. */
  restore(saved: unknown): void {
    if (typeof saved !== 'object' || saved === null) {
      return;
    }
    for (const [name, open] of Object.entries(saved)) {
      if (typeof open === 'boolean' && !this._open.has(name)) {
        this._open.set(name, open);
      }
    }
    this._changed.emit(false);
  }

  private readonly _open = new Map<string, boolean>();
  private readonly _changed = new Signal<this, boolean>(this);
}
