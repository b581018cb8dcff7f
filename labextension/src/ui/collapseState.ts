import { type ISignal, Signal } from '@lumino/signaling';

/** The most entries that are kept, since models come and go. */
const MOST = 300;

/** What the user has expanded and collapsed in the panel, by name: 'models', 'log', 'try:digits'. */
export class CollapseState {
  /** Emitted at each change; true if the user made it. */
  get changed(): ISignal<this, boolean> {
    return this._changed;
  }

  /** Null until the user sets it; the default applies then. */
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

  /** The state as JSON, for `restore` in a later page. */
  save(): { [name: string]: boolean } {
    return Object.fromEntries(this._open);
  }

  /** Restores saved entries that the user has not set meanwhile, and ignores anything invalid. */
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
