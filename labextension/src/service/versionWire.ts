/**
 * Messages about the versions of a model: see docs/jupyter.md.
 *
 * Durations end in `_s` (seconds), times are Unix seconds, sizes are bytes.
 */

import type { ILoaded, ModelState } from './wire';

/** One version of a model that is loaded or kept. */
export interface IVersionEntry {
  readonly version: string;
  /** `stored`: it is not loaded, and its file is kept. */
  readonly state: ModelState | 'stored';
  readonly routed: boolean;
  /** A rollback goes back to it. */
  readonly before: boolean;
  /** Unix time; 0: it is not loaded. */
  readonly loaded_at: number;
  readonly reason: string;
  readonly labels: readonly string[];
  /** The part of the calls without a version that it gets. */
  readonly weight: number;
  /** By the label of a share whose calls go by themselves, the part of these that it gets. Absent from an older server. */
  readonly shares?: Readonly<Record<string, number>>;
}

/** What somebody did to a model. */
export interface IVersionEvent {
  readonly at: number;
  readonly who: string;
  readonly action: string;
  readonly detail: string;
  /** What the caller said that it is: its User-Agent. Absent from an older server. */
  readonly agent?: string;
}

/** All versions of a model that are loaded or kept. */
export interface IVersionOverview {
  readonly model: string;
  readonly policy: string;
  readonly versions: readonly IVersionEntry[];
  /** The oldest first. */
  readonly history: readonly IVersionEvent[];
  /** The parameter whose value keeps calls on one side of a split. Absent from an older server. */
  readonly by?: string;
}

export type RolloutStatus = 'running' | 'halted' | 'rolled back' | 'stopped' | 'done';

export type Finding = 'holds' | 'breached' | 'too little to tell' | 'not judged';

/** What the calls so far say of one clause of a guard. */
export interface IRolloutClause {
  readonly clause: string;
  readonly finding: Finding;
  /** In words; empty where nothing was measured yet. */
  readonly measured: string;
  readonly calls: number;
}

/** A version that is to get more and more of the calls by itself. Times are Unix times. */
export interface IRollout {
  readonly model: string;
  readonly version: string;
  readonly status: RolloutStatus;
  /** What it is now, in a sentence. */
  readonly told: string;
  /** Why it is not running any more, or why its evidence began anew; else empty. */
  readonly reason: string;
  /** From 1; of one that is over, the step in which it ended. */
  readonly step: number;
  /** The parts of the calls, from 0 to 1. */
  readonly steps: readonly number[];
  readonly guard: string;
  /** When this step's time is over; with too few calls it takes longer. */
  readonly step_ends_at: number;
  /** When its status or its step changed last. */
  readonly changed_at: number;
  readonly clauses: readonly IRolloutClause[];
}

/** The rollout to begin. */
export interface IRolloutRequest {
  readonly version: string;
  readonly steps: readonly number[];
  readonly every_s: number;
  readonly guard: string;
}

/** The result of a rollback, or of a change of the parts of the calls. */
export interface IRouted extends ILoaded {
  /** Version -> the part of the calls that it gets from then on. Absent from a rollback. */
  readonly weights?: Readonly<Record<string, number>>;
}

/** What the calls of two versions tell so far. */
export interface IVersionComparison {
  readonly title: string;
  readonly versions: readonly [first: string, second: string];
  /** How many seconds were watched. */
  readonly seconds: number;
  readonly figures: readonly IComparedFigure[];
}

export interface IComparedFigure {
  readonly figure: string;
  readonly first: string;
  readonly second: string;
  /** The interval of the difference, or of the ratio. */
  readonly difference: string;
  /** What it means, and whether chance explains it; may be empty. */
  readonly verdict: string;
}
