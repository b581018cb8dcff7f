/**
 * Escapes characters with which a stranger's text could pass for something else where it is shown: controls, separators
 * of lines, and characters that turn the direction of text or are never drawn. Names in a model's file, request ids and
 * what a runtime says of a model are a stranger's text. The same characters as in `workbench/visible_text.py`.
 */

const HARMFUL =
  // eslint-disable-next-line no-control-regex, no-misleading-character-class
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{e0000}-\u{e00ff}\ud800-\udfff]/gu;

/** The text with each such character as JSON escapes it: `\u202e`. Lines stay lines, and tabs stay tabs. */
export function visible(text: string): string {
  return text.replace(HARMFUL, char =>
    char === '\n' || char === '\t'
      ? char
      : Array.from({ length: char.length }, (_, i) => escaped(char.charCodeAt(i))).join('')
  );
}

function escaped(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

/** Whether a JSON text may hold such a character, as it is or as an escape of JSON. */
const SUSPECT = /[^\u0020-\u007e\u00a0-\u00ac\u00ae-\u024f]|\\[ubfr]/;

/**
 * Parses what the server sent, with every text in it fit to be shown. The values of tensors, members called `data`, stay
 * as they are, since they are copied and sent back.
 */
export function parseVisible(text: string): unknown {
  const found: unknown = JSON.parse(text);
  return SUSPECT.test(text) ? shown(found) : found;
}

function shown(value: unknown): unknown {
  if (typeof value === 'string') {
    return visible(value);
  }
  if (Array.isArray(value)) {
    return value.map(shown);
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [name, name === 'data' ? each : shown(each)])
    );
  }
  return value;
}
