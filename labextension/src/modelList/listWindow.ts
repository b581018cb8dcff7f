/** Which rows of a long list are in the page. Pure. */

/** Rows `first` to `last`, that one not included. */
export interface IWindow {
  readonly first: number;
  readonly last: number;
}

/** The edges of the window lie at multiples of this, so that scrolling rarely changes it. */
const STEP = 8;

/** More than a screen of rows, for a page that does not say where it is yet. */
export const FIRST_WINDOW: IWindow = { first: 0, last: 48 };

/**
 * The rows between `top` and `bottom`, pixels from the begin of the list, with about as many again on each side.
 *
 * @param heightOf - the height of a row in pixels
 */
export function windowOf(
  count: number,
  heightOf: (row: number) => number,
  top: number,
  bottom: number
): IWindow {
  const over = (bottom - top) / 2;
  let first = 0;
  let y = 0;
  while (first < count && y + heightOf(first) < top - over) {
    y += heightOf(first);
    first += 1;
  }
  let last = first;
  while (last < count && y < bottom + over) {
    y += heightOf(last);
    last += 1;
  }
  return {
    first: Math.floor(first / STEP) * STEP,
    last: Math.min(count, Math.ceil(last / STEP) * STEP)
  };
}

/** A row that is in the page, or how many are left out in a place. */
export type Segment = { readonly row: number } | { readonly gap: number; readonly before: number };

/** The list as rows and gaps: the rows of the window, and those that must be in the page wherever they are. */
export function segments(
  count: number,
  { first, last }: IWindow,
  isPinned: (row: number) => boolean
): readonly Segment[] {
  const all: Segment[] = [];
  let gap = 0;
  for (let row = 0; row <= count; row += 1) {
    if (row < count && (row < first || row >= last) && !isPinned(row)) {
      gap += 1;
      continue;
    }
    if (gap > 0) {
      all.push({ gap, before: row });
      gap = 0;
    }
    if (row < count) {
      all.push({ row });
    }
  }
  return all;
}
