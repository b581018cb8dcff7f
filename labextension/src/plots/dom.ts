/** Functions that create and update DOM nodes. */

type Attributes = Readonly<Record<string, string | undefined>>;

/** Creates an element with attributes (`class` among them) and children. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) {
      made.setAttribute(name, value);
    }
  }
  made.append(...children);
  return made;
}

/** Writes text only if it differs, since most ticks change little. */
export function write(node: Element, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** Writes a sentence; text between backticks becomes code. */
export function writeCodeText(node: Element, text: string): void {
  if (node.getAttribute('data-words') === text) {
    return;
  }
  node.setAttribute('data-words', text);
  node.replaceChildren(
    ...text.split('`').map((part, i) => (i % 2 === 1 ? element('code', {}, part) : part))
  );
}
