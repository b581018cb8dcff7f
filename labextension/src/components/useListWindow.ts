import * as React from 'react';
import { FIRST_WINDOW, type IWindow, windowOf } from '../modelList/listWindow';

/** The height of a folded line until one was measured. */
const LINE_PX = 28;

interface IMeasured extends IWindow {
  /** Pixels of a folded line. */
  readonly line: number;
}

/**
 * The rows of a list that are in sight or near it, measured in the page: anew when the panel scrolls or anything in it
 * changes its size.
 *
 * @param names - of the rows, in order
 */
export function useListWindow(
  root: React.RefObject<HTMLElement>,
  names: readonly string[]
): IMeasured {
  const [measured, setMeasured] = React.useState<IMeasured>({ ...FIRST_WINDOW, line: LINE_PX });
  const measure = React.useCallback(() => {
    const list = root.current;
    const panel = list?.closest('.iw-Panel');
    if (list && panel) {
      setMeasured(before => {
        const { line, heights } = heightsOf(list, before.line);
        const top = panel.getBoundingClientRect().top - list.getBoundingClientRect().top;
        const heightOf = (row: number) => heights.get(names[row] as string) ?? line;
        const { first, last } = windowOf(names.length, heightOf, top, top + panel.clientHeight);
        const isSame = first === before.first && last === before.last && line === before.line;
        return isSame ? before : { first, last, line };
      });
    }
  }, [root, names]);

  React.useLayoutEffect(measure, [measure]);
  React.useEffect(() => {
    const panel = root.current?.closest('.iw-Panel');
    if (!panel) {
      return;
    }
    let handle = 0;
    const request = () => {
      cancelAnimationFrame(handle);
      handle = requestAnimationFrame(measure);
    };
    const observer = new ResizeObserver(request);
    // What stands above the list moves it without any scrolling.
    [panel, ...panel.children].forEach(element => observer.observe(element));
    panel.addEventListener('scroll', request, { passive: true });
    return () => {
      cancelAnimationFrame(handle);
      observer.disconnect();
      panel.removeEventListener('scroll', request);
    };
  }, [root, measure]);
  return measured;
}

/** The height of a folded line, and those of the unfolded rows by name; all of them are in the page. */
function heightsOf(
  list: HTMLElement,
  known: number
): { readonly line: number; readonly heights: ReadonlyMap<string, number> } {
  let line = known;
  const heights = new Map<string, number>();
  for (const row of list.querySelectorAll<HTMLElement>(':scope > [data-model]')) {
    if (row.classList.contains('iw-mod-open')) {
      heights.set(row.dataset['model'] as string, row.offsetHeight);
    } else {
      line = row.offsetHeight || line;
    }
  }
  return { line, heights };
}
