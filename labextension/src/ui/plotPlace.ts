import { PLOTS, type PlotName } from '../plots/contract';

/** Where a tab of the main area is added, as `DocumentRegistry.IOpenOptions` has it. */
export interface IPlace {
  readonly mode: 'split-right' | 'split-bottom' | 'tab-after';
  readonly ref: string | null;
}

/** A tab that is lower than this is not divided, in CSS pixels: each half still shows its plot. */
const DIVIDED = 420;

/**
 * Where a new plot goes: below the plot that was opened last, behind it as a further tab if it is low, and without one
 * to the right of what is current, for example a notebook.
 */
export function placeOf(
  last: { readonly id: string; readonly height: number } | null,
  current: string | null
): IPlace {
  if (last === null) {
    return { mode: 'split-right', ref: current };
  }
  return { mode: last.height >= DIVIDED ? 'split-bottom' : 'tab-after', ref: last.id };
}

/** The plot of this name; null if there is none. */
export function parsePlot(name: unknown): PlotName | null {
  return PLOTS.find(each => each === name) ?? null;
}

/** CSS pixels: the usual height of a large plot, the least one, and what a row of the dashboard has around a plot. */
const USUAL = 168;
const LEAST = 64;
const AROUND = 112;

/**
 * The height of plots in a room of this height: so low that one row fits where the room is short, as in the area below
 * a document of Notebook 7. Undefined for the usual height.
 */
export function plotHeight(room: number): number | undefined {
  return room - AROUND >= USUAL ? undefined : Math.max(LEAST, room - AROUND);
}
