import * as React from 'react';
import { arranged, lastAskedAt, rankOf } from '../modelList/modelOrder';
import type { IModelGroup } from '../service/groupByModel';
import { usePanel } from './panelContext';

/** Seconds of the service's time between two looks at which models are called. */
const LOOK_S = 2;

/**
 * The names of the models in the order in which they are shown. The order follows the calls, which are looked at every
 * 2 seconds, and nothing moves while the pointer or the focus is on the list.
 *
 * @param hasFigures - whether the list is shown, since it waits for the first figures
 */
export function useModelOrder(
  list: React.RefObject<HTMLElement>,
  groups: readonly IModelGroup[],
  isByName: boolean,
  hasFigures: boolean
): readonly string[] {
  const { model, renderLoop } = usePanel();
  const [order, setOrder] = React.useState<readonly string[]>([]);
  const askedAt = React.useRef(new Map<string, number>());
  const names = React.useMemo(() => groups.map(({ name }) => name), [groups]);

  const arrange = React.useCallback(
    (isHeld: boolean) => {
      const asked = new Map(
        names.map(name => [
          name,
          Math.max(askedAt.current.get(name) ?? 0, lastAskedAt(model.columns(name)))
        ])
      );
      askedAt.current = asked;
      const byName = new Map(groups.map(group => [group.name, group]));
      const rank = (name: string) =>
        rankOf(byName.get(name) as IModelGroup, asked.get(name) ?? 0, model.time);
      setOrder(before => arranged(before, names, isByName ? null : rank, isHeld));
    },
    [model, groups, names, isByName]
  );

  const sortedBy = React.useRef('');
  React.useLayoutEffect(() => {
    // The user chose another order, in the select above the list; or the list was not to be seen yet.
    const key = `${isByName} ${hasFigures}`;
    const isOther = sortedBy.current !== key;
    sortedBy.current = key;
    arrange(!isOther && isOn(list.current));
  }, [arrange, isByName, hasFigures, list]);
  React.useEffect(() => {
    let lookedAt = 0;
    const live = renderLoop.add(() => {
      if (Math.abs(model.time - lookedAt) >= LOOK_S) {
        lookedAt = model.time;
        arrange(isOn(list.current));
      }
    });
    return () => live.dispose();
  }, [model, renderLoop, arrange, list]);

  // Models that came or went since are in the page at once.
  return React.useMemo(() => arranged(order, names, null, true), [order, names]);
}

/** Whether the pointer or the focus is on the list. */
function isOn(list: HTMLElement | null): boolean {
  return list !== null && list.matches(':hover, :focus-within');
}
