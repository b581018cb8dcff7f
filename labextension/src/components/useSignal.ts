import type { ISignal } from '@lumino/signaling';
import * as React from 'react';

/** Returns `read()` and renders the component again when `changed` is emitted. */
export function useSignal<T>(changed: ISignal<unknown, unknown>, read: () => T): T {
  const subscribe = React.useCallback(
    (draw: () => void) => {
      changed.connect(draw);
      return () => void changed.disconnect(draw);
    },
    [changed]
  );
  return React.useSyncExternalStore(subscribe, read);
}
