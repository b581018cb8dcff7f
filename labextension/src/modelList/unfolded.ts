/** Which models are unfolded before the user says so. Pure. */

/** As many models as fit a screen unfolded. */
export const UNFOLDED_MOST = 4;

/**
 * Whether each model is unfolded by default: those that are first seen while there are few. What is decided once stays,
 * so that one model more folds none that is being read.
 */
export function unfoldedByDefault(
  before: ReadonlyMap<string, boolean>,
  names: readonly string[]
): ReadonlyMap<string, boolean> {
  const isFew = names.length <= UNFOLDED_MOST;
  const isSame = names.length === before.size && names.every(name => before.has(name));
  return isSame ? before : new Map(names.map(name => [name, before.get(name) ?? isFew]));
}
