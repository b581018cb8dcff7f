import * as React from 'react';
import { ListDock } from '../plots';

/** A dock for the list of slow requests, with refs for what scrolls and for the place of the list; null at first. */
export function useListDock(): readonly [
  dock: ListDock | null,
  scroller: React.RefObject<HTMLDivElement>,
  place: React.RefObject<HTMLElement>
] {
  const scroller = React.useRef<HTMLDivElement>(null);
  const place = React.useRef<HTMLElement>(null);
  const [dock, setDock] = React.useState<ListDock | null>(null);
  React.useEffect(() => {
    if (scroller.current !== null && place.current !== null) {
      setDock(new ListDock(place.current, scroller.current));
    }
  }, []);
  return [dock, scroller, place];
}
