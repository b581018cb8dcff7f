/** The state of the form that loads a model. Pure. */

import type { Typed } from './modelSettingsForm';
import { nameFromPath } from '../service/groupByModel';

export interface IDraft {
  readonly path: string;
  /** Null until typed: the name then follows the path. */
  readonly name: string | null;
  /** The name of the last load from this form, if it was refused. */
  readonly refused: string | null;
  /** The settings that differ from their defaults. */
  readonly options: Typed;
}

export const EMPTY_DRAFT: IDraft = { path: '', name: null, refused: null, options: new Map() };

/** The name to serve the file as. */
export function nameOf({ path, name }: IDraft): string {
  return name ?? nameFromPath(path);
}

/** Sets the path. A new path after a refusal is another model, so a name typed for the refused one is dropped. */
export function withPath(draft: IDraft, path: string): IDraft {
  const keeps = draft.refused === null || draft.name !== draft.refused || path === draft.path;
  return { ...draft, path, name: keeps ? draft.name : null };
}

/** Sets the name; an empty one follows the path again. */
export function withName(draft: IDraft, name: string): IDraft {
  return { ...draft, name: name || null };
}

/** Whether a path is a URL, from which models cannot be loaded. */
export function isURL(path: string): boolean {
  return /^\s*[a-z][a-z0-9+.-]*:\/\//i.test(path);
}
