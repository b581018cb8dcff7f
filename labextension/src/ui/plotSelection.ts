import type { IStateDB } from '@jupyterlab/statedb';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { type ISignal, Signal } from '@lumino/signaling';
import { WINDOWS } from '../plots/contract';
import type { IModelFigures } from '../service/wire';

/** What is looked at closely: which models, and how far back. Kept over reloads by whoever holds it. */
export interface IWatched {
  /** Empty: nobody has chosen. */
  readonly models: readonly string[];
  readonly window_s: number;
}

export const NOTHING: IWatched = { models: [], window_s: WINDOWS[0] };

/** An `IWatched` that changes. */
export class Watched {
  constructor(private _value: IWatched = NOTHING) {}

  get value(): IWatched {
    return this._value;
  }

  set value(value: IWatched) {
    if (JSON.stringify(value) !== JSON.stringify(this._value)) {
      this._value = value;
      this._changed.emit(value);
    }
  }

  get changed(): ISignal<this, IWatched> {
    return this._changed;
  }

  /** Emitted when a model was chosen elsewhere, so that its plots are to be brought into sight. */
  get asked(): ISignal<this, void> {
    return this._asked;
  }

  /** Look at this model, and nothing else. */
  show(name: string): void {
    this.value = { ...this._value, models: [name] };
    this._asked.emit();
  }

  /** Take a model in, or away. */
  toggle(name: string): void {
    const { models } = this._value;
    this.value = {
      ...this._value,
      models: models.includes(name) ? models.filter(each => each !== name) : [...models, name]
    };
  }

  private readonly _changed = new Signal<this, IWatched>(this);
  private readonly _asked = new Signal<this, void>(this);
}

/** What was saved, as far as it can be used. */
export function read(saved: unknown): IWatched {
  const { models, window_s } = (saved ?? {}) as Record<string, unknown>;
  return {
    models: Array.isArray(models) ? models.filter(name => typeof name === 'string') : [],
    window_s: WINDOWS.find(each => each === window_s) ?? WINDOWS[0]
  };
}

/** As JSON, for the state of a workspace. */
export function written({ models, window_s }: IWatched): ReadonlyPartialJSONObject {
  return { models: [...models], window_s };
}

/** Watch what was watched when the page was left, unless something was chosen since, and remember what is from now on. */
export async function rememberWatched(
  watched: Watched,
  state: IStateDB | null,
  key: string
): Promise<void> {
  let isChosen = false;
  watched.changed.connect((_, value) => {
    isChosen = true;
    void state?.save(key, written(value));
  });
  const saved = await state?.fetch(key);
  if (saved !== undefined && !isChosen) {
    watched.value = read(saved);
  }
}

/**
 * The model to look at: the one chosen, else the one shown before, else what is asked most. What was shown stays while
 * the service is away or brings its models back, since its plots are not to begin anew.
 */
export function shown(
  chosen: string | null,
  before: string | null,
  names: readonly string[],
  isComplete: boolean,
  figures: (name: string) => IModelFigures | null
): string | null {
  if (chosen !== null && (names.includes(chosen) || chosen === before)) {
    return chosen;
  }
  if (before !== null && (names.includes(before) || !isComplete)) {
    return before;
  }
  return liveliest(names, figures);
}

/** The model to look at where nobody has chosen one: what is asked most, of equals the first; null: there is none. */
export function liveliest(
  names: readonly string[],
  figures: (name: string) => IModelFigures | null
): string | null {
  const rates = names.map(name => figures(name)?.requests_per_s ?? 0);
  return names[rates.indexOf(Math.max(...rates))] ?? null;
}
