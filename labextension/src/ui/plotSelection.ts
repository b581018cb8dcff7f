import type { IStateDB } from '@jupyterlab/statedb';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { type ISignal, Signal } from '@lumino/signaling';
import { WINDOWS } from '../plots/contract';
import { LATENCY_SCALES, type LatencyScale } from '../plots/valueScale';
import type { IColumns } from '../service/wire';

/** The models whose live plots are shown, and the window. */
export interface IPlotSelection {
  /** Empty until the user selects one. */
  readonly models: readonly string[];
  readonly window_s: number;
  /** How latency is scaled in large plots. */
  readonly latency: LatencyScale;
  /** Whether the plots of several models have the same scales. */
  readonly shared: boolean;
}

export const NO_SELECTION: IPlotSelection = {
  models: [],
  window_s: WINDOWS[0],
  latency: 'auto',
  shared: false
};

/** Holds an `IPlotSelection` and emits its changes. */
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

  /** Emitted when a model was selected elsewhere and its plots should be scrolled into view. */
  get requested(): ISignal<this, void> {
    return this._requested;
  }

  /** Selects this model only, and requests that its plots be shown. */
  show(name: string): void {
    this.value = { ...this._value, models: [name] };
    this._requested.emit();
  }

  /** Adds or removes a model. */
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

/** Parses a saved selection; invalid parts become defaults. */
export function parseSelection(saved: unknown): IPlotSelection {
  const { models, window_s, latency, shared } = (saved ?? {}) as Record<string, unknown>;
  return {
    models: Array.isArray(models) ? models.filter(name => typeof name === 'string') : [],
    window_s: WINDOWS.find(each => each === window_s) ?? WINDOWS[0],
    latency: LATENCY_SCALES.find(each => each === latency) ?? 'auto',
    shared: shared === true
  };
}

/** A selection as JSON, for the state of a workspace. */
export function serializeSelection(value: IPlotSelection): ReadonlyPartialJSONObject {
  return { ...value, models: [...value.models] };
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
 * The model to plot: the selected one, else the one asked most. The one shown before stays while the service is away or
 * restores its models, so that its plots are not reset.
 *
 * @param asked - how many requests a model had in the last minute
 */
export function modelToPlot(
  chosen: string | null,
  before: string | null,
  names: readonly string[],
  isComplete: boolean,
  asked: (name: string) => number
): string | null {
  if (chosen !== null && (names.includes(chosen) || chosen === before)) {
    return chosen;
  }
  return before !== null && !names.includes(before) && !isComplete
    ? before
    : mostAsked(before, names, asked);
}

/** Another model must be asked this many times as much before it is shown instead, so that two do not take turns. */
const CLEARLY = 1.5;

/** The model asked most, the first among equals; `before` stays unless another one is clearly asked more. */
export function mostAsked(
  before: string | null,
  names: readonly string[],
  asked: (name: string) => number
): string | null {
  const counts = names.map(asked);
  const most = Math.max(...counts);
  const best = names[counts.indexOf(most)] ?? null;
  const known = before === null ? -1 : names.indexOf(before);
  return known >= 0 && most <= CLEARLY * (counts[known] as number) ? before : best;
}

/** How many requests the columns of a model's last minute tell of, in any unit. */
export function askedIn(columns: IColumns | null): number {
  return columns?.requests_per_s.reduce<number>((sum, rate) => sum + (rate ?? 0), 0) ?? 0;
}
