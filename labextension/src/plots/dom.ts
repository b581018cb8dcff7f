/** The few things of a page that are made here by hand. */

type Attributes = Readonly<Record<string, string | undefined>>;

/** An element with attributes, and what is in it; `class` is an attribute too. */
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

/** Text that is written only when it differs: most ticks change little. */
export function write(node: Element, text: string): void {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A sentence, in which what stands between backticks is code. */
export function writeCodeText(node: Element, text: string): void {
  if (node.getAttribute('data-words') === text) {
    return;
  }
  node.setAttribute('data-words', text);
  node.replaceChildren(
    ...text.split('`').map((part, i) => (i % 2 === 1 ? element('code', {}, part) : part))
  );
}
