import * as React from 'react';
import type { IVersionComparison } from '../service/versionWire';
import { capitalized } from '../ui/labels';
import { Progress } from './collapsible';
import { usePanel } from './panelContext';
import { Button, ErrorMessage } from './primitives';

/** How long the calls of two versions are watched. */
const SECONDS = 300;

interface IProps {
  readonly name: string;
  /** The one that serves, and the other one. */
  readonly versions: readonly [first: string, second: string];
  readonly able: boolean;
  readonly canRollBack: boolean;
  readonly onPromote: () => void;
  readonly onRollBack: () => void;
}

/** Two versions beside each other by the calls that they get, while it is shown. */
export function VersionCompare(props: IProps): JSX.Element {
  const { name, versions, able } = props;
  const { model, trans } = usePanel();
  const [found, setFound] = React.useState<IVersionComparison | null>(null);
  const [ended, setEnded] = React.useState(false);
  const [trouble, setTrouble] = React.useState('');
  const [first, second] = versions;
  React.useEffect(() => {
    const leaving = new AbortController();
    setEnded(false);
    model.versions
      .compare(name, [first, second], SECONDS, setFound, leaving.signal)
      .catch((error: Error) => setTrouble(capitalized(error.message)))
      .finally(() => setEnded(true));
    return () => leaving.abort();
  }, [model, name, first, second]);
  return (
    <div
      className="iw-Part iw-Compare"
      role="group"
      aria-label={trans.__('Version %1 beside version %2', second, first)}
    >
      <p className="iw-Text">
        {found?.title ?? trans.__('Watching the calls of versions %1 and %2…', first, second)}
      </p>
      {!ended && <Progress />}
      {found && (
        <table>
          <thead>
            <tr>
              <td />
              <th scope="col">{`v${first}`}</th>
              <th scope="col">{`v${second}`}</th>
            </tr>
          </thead>
          {found.figures.map(each => (
            <tbody key={each.figure}>
              <tr data-compared={each.figure}>
                <th scope="row">{each.figure}</th>
                <td>{each.first}</td>
                <td>{each.second}</td>
              </tr>
              {(each.verdict || each.difference) && (
                <tr className="iw-Compare-verdict">
                  <td colSpan={3}>{[each.difference, each.verdict].filter(Boolean).join(' · ')}</td>
                </tr>
              )}
            </tbody>
          ))}
        </table>
      )}
      <ErrorMessage text={trouble} />
      <div className="iw-Row">
        <Button
          label={trans.__('Promote %1', second)}
          primary
          disabled={!able}
          onClick={props.onPromote}
        />
        {props.canRollBack && (
          <Button label={trans.__('Roll back')} disabled={!able} onClick={props.onRollBack} />
        )}
      </div>
    </div>
  );
}
