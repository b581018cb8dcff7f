/** A list that is shown for a selection in some plots, and how to put it away with its selection. */
export interface IDocked {
  readonly node: HTMLElement;
  hide(): void;
}

/**
 * A place at the side for the list of slow requests: one at a time, whichever plots it belongs to. What was clicked
 * stays where it is on the screen, even if the plots become narrower and are arranged anew.
 */
export class ListDock {
  constructor(
    private readonly _place: HTMLElement,
    private readonly _scroller: HTMLElement
  ) {}

  /** Shows a list in place of another one. `clicked` keeps its height on the screen. */
  put(list: IDocked, clicked: Element): void {
    const before = clicked.getBoundingClientRect().top;
    if (this._list !== list) {
      this._list?.hide();
      this._list = list;
      this._place.replaceChildren(list.node);
    }
    // The plots take their new width while this frame is laid out.
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        this._scroller.scrollTop += clicked.getBoundingClientRect().top - before;
      })
    );
  }

  /** Puts a list away if it is the one that is shown. */
  remove(list: IDocked): void {
    if (this._list === list) {
      list.hide();
      list.node.remove();
      this._list = null;
    }
  }

  private _list: IDocked | null = null;
}
