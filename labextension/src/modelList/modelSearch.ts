/** How models are found by what is typed: in the filter box, and on the list. Pure. */

/** From this many models on there is a filter box. */
export const FILTER_FROM = 8;

/** Letters typed on the list within this time belong together. */
export const TYPED_MS = 800;

/** The names that contain every word of `text`, in their order; upper and lower case are the same. */
export function filtered(names: readonly string[], text: string): readonly string[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return words.length === 0
    ? names
    : names.filter(name => words.every(word => name.toLowerCase().includes(word)));
}

/** What was typed on the list up to now. */
export interface ITyped {
  readonly text: string;
  /** Milliseconds of any clock. */
  readonly at: number;
}

export const NOTHING_TYPED: ITyped = { text: '', at: -Infinity };

/** What is typed with one more `key`; null if the key types nothing. */
export function typedWith(before: ITyped, key: string, at: number): ITyped | null {
  const isLater = at - before.at > TYPED_MS;
  // A space begins nothing: it presses the button on which the focus is.
  if ([...key].length !== 1 || (key === ' ' && (isLater || before.text === ''))) {
    return null;
  }
  return { text: (isLater ? '' : before.text) + key.toLowerCase(), at };
}

/**
 * The next name that begins with what was typed, the one at `from` included unless the text is a single letter; the
 * same letter again and again walks through all that begin with it. Null if there is none.
 */
export function foundByTyping(names: readonly string[], from: number, text: string): string | null {
  const [letter = ''] = text;
  const isWalk = [...text].every(each => each === letter);
  const begin = isWalk ? letter : text;
  const start = isWalk ? from + 1 : from;
  for (let i = 0; i < names.length; i += 1) {
    const name = names[(start + i + names.length) % names.length] as string;
    if (name.toLowerCase().startsWith(begin)) {
      return name;
    }
  }
  return null;
}

/** The row that a key moves the focus to; null if the key is another one. */
export function movedTo(key: string, at: number, count: number, page: number): number | null {
  const last = count - 1;
  switch (key) {
    case 'ArrowDown':
      return Math.min(last, at + 1);
    case 'ArrowUp':
      return Math.max(0, at - 1);
    case 'PageDown':
      return Math.min(last, at + page);
    case 'PageUp':
      return Math.max(0, at - page);
    case 'Home':
      return 0;
    case 'End':
      return last;
    default:
      return null;
  }
}
