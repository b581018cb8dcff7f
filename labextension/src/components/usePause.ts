import * as React from 'react';

import type { PlotSelection } from '../ui/plotSelection';

/** Whether plots stand still, and how a user says that the models in them are the ones to look at. */
export interface IPause {
  readonly paused: boolean;
  /** Select the models that are shown, if they were shown only because they were the ones asked most. */
  readonly keep: () => void;
  readonly onPause: (paused: boolean) => void;
}

/**
 * A pause for the plots of the models `shown`. A user who pauses, clicks or types in them wants these models, so
 * they stay when another one is asked more.
 */
export function usePause(plotSelection: PlotSelection, shown: readonly string[]): IPause {
  const [paused, setPaused] = React.useState(false);
  const keep = () => {
    const { models } = plotSelection.value;
    if (shown.length > 0 && !shown.every((name, at) => models[at] === name)) {
      plotSelection.value = { ...plotSelection.value, models: shown };
    }
  };
  const onPause = (next: boolean) => {
    keep();
    setPaused(next);
  };
  return { paused, keep, onPause };
}
