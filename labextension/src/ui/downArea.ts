import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { SplitPanel, Widget } from '@lumino/widgets';

/** The shares of the height: main area, down area. */
const SHARES = [3, 2];

/** A smaller share of the height shows only the row of tabs. */
const ROOM = 0.1;

/** Shows a widget in the down area, and enlarges the area where it has no height, as in Notebook 7. */
export function showInDownArea(shell: JupyterFrontEnd.IShell, widget: Widget): void {
  shell.add(widget, 'down');
  for (let each: Widget | null = widget.parent; each !== null; each = each.parent) {
    if (isSplit(each) && each.orientation === 'vertical') {
      const shares = each.relativeSizes();
      if (shares.length === SHARES.length && (shares[1] as number) < ROOM) {
        each.setRelativeSizes(SHARES);
      }
      return;
    }
  }
}

function isSplit(widget: Widget): widget is SplitPanel {
  return 'setRelativeSizes' in widget;
}
