import * as React from 'react';
import type { Settings } from '../forms/modelSettingsForm';
import type { IView } from '../service/state';
import { isUnderWay } from '../service/groupByModel';
import type { IStored } from '../service/wire';
import { Button } from './primitives';
import { usePanel } from './panelContext';

interface IProps {
  readonly view: IView;
  /** The settings to load with. */
  readonly options: { readonly config?: Settings };
  readonly able: boolean;
}

/** The models in the service's own repositories that are not loaded; nothing if there are none. */
export function Stored({ view, options, able }: IProps): JSX.Element | null {
  const { model, trans } = usePanel();
  const id = React.useId();
  const [all, setAll] = React.useState<readonly IStored[]>([]);
  const ready = view.link.kind === 'live' && view.service?.state === 'Ready';
  const settled = view.models.filter(({ state }) => !isUnderWay(state)).length;
  React.useEffect(() => {
    let asked = ready;
    if (asked) {
      // An older server, or one that is stopping, cannot list any.
      model.stored().then(
        found => asked && setAll(found),
        () => undefined
      );
    }
    return () => {
      asked = false;
    };
  }, [model, ready, settled]);
  const known = new Set(view.models.map(({ name }) => name));
  const loading = new Set(
    view.attempts.filter(({ trouble }) => !trouble).map(({ request }) => request.name)
  );
  const names = new Set(
    all
      .filter(({ name, state }) => state === 'UNAVAILABLE' && !known.has(name))
      .map(({ name }) => name)
  );
  if (!ready || names.size === 0) {
    return null;
  }
  return (
    <div className="iw-Stored">
      <p id={id} className="iw-Text iw-mod-quiet">
        {trans.__('In the service’s repository, not loaded:')}
      </p>
      <ul aria-labelledby={id}>
        {[...names].map(name => (
          <li key={name}>
            <span className="iw-Stored-name" title={name}>
              {name}
            </span>
            <Button
              label={trans.__('Load')}
              name={trans.__('Load %1', name)}
              disabled={!able || loading.has(name)}
              onClick={() =>
                void model
                  .load({ name, path: '', ...options })
                  .catch(() => undefined /* shown below */)
              }
            />
          </li>
        ))}
      </ul>
    </div>
  );
}
