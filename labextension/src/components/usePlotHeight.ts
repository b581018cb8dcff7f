import * as React from 'react';
import { plotHeight } from '../ui/plotPlace';

/** The height of plots in a scrolled element, which follows its size; undefined for the usual one. */
export function usePlotHeight(scroller: React.RefObject<HTMLElement>): number | undefined {
  const [height, setHeight] = React.useState<number | undefined>(undefined);
  React.useEffect(() => {
    const node = scroller.current;
    if (node === null) {
      return;
    }
    const observer = new ResizeObserver(() => setHeight(plotHeight(node.clientHeight)));
    observer.observe(node);
    return () => observer.disconnect();
  }, [scroller]);
  return height;
}
