import * as React from 'react';
import { isUnderWay } from '../service/groupByModel';
import type { Verb } from '../service/state';
import { CommandIDs } from '../tokens';
import type { IModelStatus, ModelState } from '../service/wire';
import {
  MODEL_TONES,
  circuitNotice,
  modelStateLabel,
  capitalized,
  classesText,
  provenanceText,
  versionText
} from '../ui/labels';
import { LoadedBy } from './loadedBy';
import { Figures } from './modelFigures';
import { Button, Message, State } from './primitives';
import { useCollapse, usePanel } from './panelContext';
import { CollapsibleBody, Progress, CollapseToggle } from './collapsible';

/** Loaded when first expanded, so that the panel appears sooner. */
const SettingsForm = React.lazy(async () => ({
  default: (await import('./modelSettings')).SettingsForm
}));
const VersionsPart = React.lazy(async () => ({
  default: (await import('./versionsPart')).VersionsPart
}));
const TryIt = React.lazy(async () => ({ default: (await import('./tryIt')).TryIt }));

export interface ICardProps {
  readonly current: IModelStatus;
  readonly others: readonly IModelStatus[];
  /** False while the service is away; a model listed as Ready is not ready then. */
  readonly serving: boolean;
  readonly busy: Verb | undefined;
  readonly trouble: string | undefined;
}

/** An unfolded model, below its line. Its figures are written without React. */
export function Card(props: ICardProps): JSX.Element {
  const { current, others, serving, busy, trouble } = props;
  const { model, commands, trans } = usePanel();
  const { name, state, reason, device, notes, provenance, labels } = current;
  const circuit = circuitNotice(trans, current.circuit);
  const [versionsShown] = useCollapse(`versions:${name}`, false);
  return (
    <>
      <div className="iw-Card-state">
        <CardState state={state} serving={serving} busy={busy} />
        {serving && circuit && <State tone="bad" word={circuit.word} />}
        {device && <span className="iw-Card-device">{device}</span>}
      </div>
      {serving && circuit && <Message tone="bad">{circuit.text}</Message>}
      {isUnderWay(state) && state !== 'Draining' && <Progress />}
      {reason && (
        <Message tone={state === 'Failed' ? 'bad' : 'info'}>{capitalized(reason)}</Message>
      )}
      {trouble && (
        <Message tone="bad" onDismiss={() => model.dismiss(name)}>
          {trouble}
        </Message>
      )}
      {state === 'Failed' && (
        <div className="iw-Row">
          <Button
            label={trans.__('Remove')}
            disabled={!serving || busy !== undefined}
            onClick={() =>
              void commands.execute(CommandIDs.unload, { name }).catch(() => undefined)
            }
          />
        </div>
      )}
      {(state === 'Ready' || state === 'Draining') && <Figures name={name} />}
      {state === 'Ready' && (
        <Parts status={current} others={others} able={serving && busy === undefined} />
      )}
      {(!versionsShown || state !== 'Ready') &&
        others.map(other => <Other key={other.version} status={other} />)}
      {classesText(trans, labels ?? {}).map(line => (
        <p className="iw-Text iw-mod-quiet" data-part="classes" key={line}>
          {line}
        </p>
      ))}
      {provenance && (
        <p className="iw-Text iw-mod-quiet" data-part="provenance">
          {provenanceText(trans, provenance)}
        </p>
      )}
      {serving && state === 'Ready' && <LoadedBy status={current} />}
      <Notes notes={notes} />
    </>
  );
}

function CardState(
  props: Pick<ICardProps, 'serving' | 'busy'> & { state: ModelState }
): JSX.Element {
  const { trans } = usePanel();
  if (!props.serving) {
    return <State tone="off" word={trans.__('Waiting for the service')} />;
  }
  if (props.busy === 'unload') {
    return <State tone="busy" word={trans.__('Unloading…')} />;
  }
  return <State tone={MODEL_TONES[props.state]} word={modelStateLabel(trans, props.state)} />;
}

/** Actions on a model that serves; each is collapsed at first. */
function Parts({
  status,
  others,
  able
}: Pick<ICardProps, 'others'> & { status: IModelStatus; able: boolean }): JSX.Element {
  const { trans } = usePanel();
  const id = React.useId();
  const [trying, setTrying] = useCollapse(`try:${status.name}`, false);
  const [setting, setSetting] = useCollapse(`settings:${status.name}`, false);
  const [versions, setVersions] = useCollapse(`versions:${status.name}`, false);
  // The first version that there is, alone, has nothing to be told of; what came of an action stays in sight.
  const hasVersions = versions || others.length > 0 || Number(status.version) > 1;
  return (
    <>
      <div className="iw-Parts">
        <CollapseToggle
          label={trans.__('Try it')}
          part={`${id}-try`}
          open={trying}
          onToggle={() => setTrying(!trying)}
        />
        <CollapseToggle
          label={trans.__('Settings')}
          part={`${id}-settings`}
          open={setting}
          onToggle={() => setSetting(!setting)}
        />
        {hasVersions && (
          <CollapseToggle
            label={trans.__('Versions')}
            part={`${id}-versions`}
            open={versions}
            onToggle={() => setVersions(!versions)}
          />
        )}
      </div>
      <CollapsibleBody id={`${id}-try`} open={trying}>
        <React.Suspense fallback={null}>
          <TryIt status={status} able={able && status.routed} />
        </React.Suspense>
      </CollapsibleBody>
      <CollapsibleBody id={`${id}-settings`} open={setting}>
        <React.Suspense fallback={null}>
          <SettingsForm status={status} able={able && status.routed} />
        </React.Suspense>
      </CollapsibleBody>
      {hasVersions && (
        <div id={`${id}-versions`} hidden={!versions}>
          {versions && (
            <React.Suspense fallback={null}>
              <VersionsPart name={status.name} statuses={[status, ...others]} able={able} />
            </React.Suspense>
          )}
        </div>
      )}
    </>
  );
}

/** Another version of the same model: one that loads, drains or failed. */
function Other({ status }: { status: IModelStatus }): JSX.Element {
  const { trans } = usePanel();
  return (
    <div className="iw-Card-other">
      <span className="iw-Card-version">{versionText(status)}</span>
      <State
        tone={status.state === 'Ready' ? 'off' : MODEL_TONES[status.state]}
        word={
          status.state !== 'Ready'
            ? modelStateLabel(trans, status.state)
            : status.weight
              ? trans.__('Gets a part of the calls')
              : trans.__('Called by its name')
        }
      />
      {status.reason && <Message tone="bad">{capitalized(status.reason)}</Message>}
    </div>
  );
}

function Notes({ notes }: { notes: readonly string[] }): JSX.Element | null {
  const { trans } = usePanel();
  const [all, setAll] = React.useState(false);
  if (notes.length === 0) {
    return null;
  }
  const shown = all ? notes : notes.slice(0, 1);
  return (
    <div className="iw-Card-notes">
      {shown.map(note => (
        <p key={note} className="iw-Text iw-mod-quiet">
          {note}
        </p>
      ))}
      {notes.length > 1 && (
        <button type="button" className="iw-Link" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? trans.__('Less') : trans._n('%1 more note', '%1 more notes', notes.length - 1)}
        </button>
      )}
    </div>
  );
}
