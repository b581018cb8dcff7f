import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { SplitPanel, TabPanel, Widget } from '@lumino/widgets';

/** The shares of the height: main area, down area. */
const SHARES = [3, 2];

/** A smaller share of the height shows only the row of tabs, or less than a plot. */
const ROOM = 0.3;

/** Shows a widget in the down area, and enlarges the area where it has no height, as in Notebook 7. */
export function showInDownArea(shell: JupyterFrontEnd.IShell, widget: Widget): void {
  shell.add(widget, 'down');
  for (let each: Widget | null = widget.parent; each !== null; each = each.parent) {
    if (isSplit(each) && each.orientation === 'vertical') {
      const shares = each.relativeSizes();
      const isLow = shares.length === SHARES.length && (shares[1] as number) < ROOM;
      // What is hidden takes no size.
      activate(shell, widget);
      if (isLow) {
        each.setRelativeSizes(SHARES);
      }
      return;
    }
  }
}

/** Activates a widget, also in the down area, in which the shell of Notebook 7 looks for none. */
export function activate(shell: JupyterFrontEnd.IShell, widget: Widget): void {
  shell.activateById(widget.id);
  for (let each = widget.parent; each !== null && !widget.isVisible; each = each.parent) {
    if (isTabs(each)) {
      each.currentWidget = widget;
    }
  }
}

function isTabs(widget: Widget): widget is TabPanel {
  return 'tabBar' in widget && 'currentWidget' in widget;
}

function isSplit(widget: Widget): widget is SplitPanel {
  return 'setRelativeSizes' in widget;
}
