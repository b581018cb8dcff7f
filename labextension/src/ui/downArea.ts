import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { SplitPanel, Widget } from '@lumino/widgets';

/** Parts of the height: what one works on, and what is shown below it. */
const SHARES = [3, 2];

/** Less than this part of the height is a row of tabs and nothing else. */
const ROOM = 0.1;

/** Show a widget in a tab below what one works on, with room: Notebook 7 gives what is there none. */
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
