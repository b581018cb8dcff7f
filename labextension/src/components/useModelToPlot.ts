import * as React from 'react';
import { isSettled, type IView } from '../service/state';
import type { IServiceModel } from '../tokens';
import { askedIn, modelToPlot } from '../ui/plotSelection';

/** Seconds of the service's time between two looks at who is asked most. */
const LOOK_S = 2;

/**
 * The model that a part of the page is about: the chosen one, or, until there is one, the one asked most. It does not
 * change while the pointer or the focus is on the part.
 */
export function useModelToPlot(
  model: IServiceModel,
  part: React.RefObject<HTMLElement>,
  chosen: string | null,
  names: readonly string[],
  view: IView
): string | null {
  const [, draw] = React.useReducer((count: number) => count + 1, 0);
  const before = React.useRef<string | null>(null);
  const pick = () => {
    const isHeld = part.current?.matches(':hover, :focus-within') ?? false;
    return modelToPlot(chosen, before.current, names, isSettled(view), name =>
      isHeld ? 0 : askedIn(model.columns(name))
    );
  };
  const latest = React.useRef(pick);
  latest.current = pick;
  before.current = pick();
  React.useEffect(() => {
    let lookedAt = 0;
    const look = () => {
      if (Math.abs(model.time - lookedAt) >= LOOK_S) {
        lookedAt = model.time;
        if (latest.current() !== before.current) {
          draw();
        }
      }
    };
    look();
    model.figuresChanged.connect(look);
    return () => void model.figuresChanged.disconnect(look);
  }, [model]);
  return before.current;
}
