import * as React from 'react';
import type { IRollout } from '../service/versionWire';
import type { Versions } from '../versions/versionsModel';

/** The service looks at a rollout once a second. */
const LOOK_MS = 1000;

/**
 * The last rollout of a model; null if there was none. It is asked for again whenever `known` is another object, and, for as
 * long as it may change by itself and `root` can be seen, once a second.
 *
 * @param onChange - called when its status or step has changed, and it changed what calls get
 */
export function useRollout(
  versions: Versions,
  name: string,
  known: unknown,
  root: React.RefObject<HTMLElement>,
  onChange: () => void
): IRollout | null {
  const [rollout, setRollout] = React.useState<IRollout | null>(null);
  const asked = React.useRef(0);
  const look = React.useCallback(async () => {
    const mine = (asked.current += 1);
    const found = await versions.rollout(name).catch(() => undefined); // it says nothing new
    if (mine === asked.current && found !== undefined) {
      setRollout(found);
    }
  }, [versions, name]);
  React.useEffect(() => void look(), [look, known]);

  const open = rollout?.status === 'running' || rollout?.status === 'halted';
  React.useEffect(() => {
    if (!open) {
      return;
    }
    const timer = setInterval(() => {
      if (!document.hidden && root.current?.offsetParent) {
        void look();
      }
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [look, open, root]);

  const changed = rollout?.changed_at;
  const last = React.useRef(changed);
  React.useEffect(() => {
    if (last.current !== undefined && last.current !== changed) {
      onChange();
    }
    last.current = changed;
  }, [changed, onChange]);
  return rollout;
}
