import type { IStateDB } from '@jupyterlab/statedb';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { type ISignal, Signal } from '@lumino/signaling';
import { WINDOWS } from '../plots/contract';
import type { IModelFigures } from '../service/wire';

/** What is looked at closely: which models, and how far back. Kept over reloads by whoever holds it. */
export interface IPlotSelection {
  /** Empty: nobody has chosen. */
  readonly models: readonly string[];
  readonly window_s: number;
}

export const NO_SELECTION: IPlotSelection = { models: [], window_s: WINDOWS[0] };

/** An `IPlotSelection` that changes. */
export class PlotSelection {
  constructor(private _value: IPlotSelection = NO_SELECTION) {}

  get value(): IPlotSelection {
    return this._value;
  }

  set value(value: IPlotSelection) {
    if (JSON.stringify(value) !== JSON.stringify(this._value)) {
      this._value = value;
      this._changed.emit(value);
    }
  }

  get changed(): ISignal<this, IPlotSelection> {
    return this._changed;
  }

  /** Emitted when a model was chosen elsewhere, so that its plots are to be brought into sight. */
  get requested(): ISignal<this, void> {
    return this._requested;
  }

  /** Look at this model, and nothing else. */
  show(name: string): void {
    this.value = { ...this._value, models: [name] };
    this._requested.emit();
  }

  /** Take a model in, or away. */
  toggle(name: string): void {
    const { models } = this._value;
    this.value = {
      ...this._value,
      models: models.includes(name) ? models.filter(each => each !== name) : [...models, name]
    };
  }

  private readonly _changed = new Signal<this, IPlotSelection>(this);
  private readonly _requested = new Signal<this, void>(this);
}

/** What was saved, as far as it can be used. */
export function parseSelection(saved: unknown): IPlotSelection {
  const { models, window_s } = (saved ?? {}) as Record<string, unknown>;
  return {
    models: Array.isArray(models) ? models.filter(name => typeof name === 'string') : [],
    window_s: WINDOWS.find(each => each === window_s) ?? WINDOWS[0]
  };
}

/** As JSON, for the state of a workspace. */
export function serializeSelection({
  models,
  window_s
}: IPlotSelection): ReadonlyPartialJSONObject {
  return { models: [...models], window_s };
}

/** Restores the selection of the last page, unless one was made since, and saves each change from now on. */
export async function rememberPlotSelection(
  plotSelection: PlotSelection,
  state: IStateDB | null,
  key: string
): Promise<void> {
  let isChosen = false;
  plotSelection.changed.connect((_, value) => {
    isChosen = true;
    void state?.save(key, serializeSelection(value));
  });
  const saved = await state?.fetch(key);
  if (saved !== undefined && !isChosen) {
    plotSelection.value = parseSelection(saved);
  }
}

/**
 * The model to look at: the one chosen, else the one shown before, else what is asked most. What was shown stays while
 * the service is away or brings its models back, since its plots are not to begin anew.
 */
export function modelToPlot(
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
  return busiestModel(names, figures);
}

/** The model to look at where nobody has chosen one: what is asked most, of equals the first; null: there is none. */
export function busiestModel(
  names: readonly string[],
  figures: (name: string) => IModelFigures | null
): string | null {
  const rates = names.map(name => figures(name)?.requests_per_s ?? 0);
  return names[rates.indexOf(Math.max(...rates))] ?? null;
}
