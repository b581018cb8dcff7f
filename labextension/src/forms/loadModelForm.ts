/** What is typed into the form that loads a model. Pure. */

import type { Typed } from './modelSettingsForm';
import { nameFromPath } from '../service/groupByModel';

export interface IDraft {
  readonly path: string;
  /** Null: not typed, so it follows the path. */
  readonly name: string | null;
  /** The name of the last load from here, where it was refused. */
  readonly refused: string | null;
  /** Settings that are not to be as they are by default. */
  readonly options: Typed;
}

export const EMPTY_DRAFT: IDraft = { path: '', name: null, refused: null, options: new Map() };

/** What the file would be served as. */
export function nameOf({ path, name }: IDraft): string {
  return name ?? nameFromPath(path);
}

/** Another file after a refusal is another model: what was typed for the one before does not name it. */
export function withPath(draft: IDraft, path: string): IDraft {
  const keeps = draft.refused === null || draft.name !== draft.refused || path === draft.path;
  return { ...draft, path, name: keeps ? draft.name : null };
}

/** An empty one follows the path again. */
export function withName(draft: IDraft, name: string): IDraft {
  return { ...draft, name: name || null };
}

/** Whether it is one of the web or of a store, where nothing is loaded from. */
export function isURL(path: string): boolean {
  return /^\s*[a-z][a-z0-9+.-]*:\/\//i.test(path);
}
