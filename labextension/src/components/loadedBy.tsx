import * as React from 'react';
import type { IVersionEvent } from '../service/versionWire';
import type { IModelStatus } from '../service/wire';
import * as format from '../ui/format';
import { loadedByText, loadOf } from '../versions/loader';
import { usePanel } from './panelContext';

/** Who loaded the version that serves, and when. */
export function LoadedBy({ status }: { status: IModelStatus }): JSX.Element {
  const { model, trans } = usePanel();
  const { name, version, digest, loaded_at } = status;
  const [load, setLoad] = React.useState<IVersionEvent | null>(null);
  React.useEffect(() => {
    let isShown = true;
    model.versions.overview(name).then(
      ({ history }) => isShown && setLoad(loadOf(history, version)),
      () => undefined
    );
    return () => {
      isShown = false;
    };
  }, [model, name, version, digest]);
  return (
    <p className="iw-Text iw-mod-quiet" data-part="loaded-by">
      {load === null ? trans.__('Loaded %1', format.moment(loaded_at)) : loadedByText(trans, load)}
    </p>
  );
}
