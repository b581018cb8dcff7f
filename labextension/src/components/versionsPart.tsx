import * as React from 'react';
import type { IVersionEntry, IVersionOverview } from '../service/versionWire';
import type { IModelStatus } from '../service/wire';
import { capitalized } from '../ui/labels';
import * as format from '../ui/format';
import { VersionActions } from '../versions/versionActions';
import { asking } from '../versions/versionCommands';
import {
  entryState,
  isSplit,
  labelsFrom,
  percent,
  rollbackGoesTo,
  sharesText,
  weightsFrom
} from '../versions/versionLabels';
import { Collapsible } from './collapsible';
import { useCollapse, usePanel } from './panelContext';
import { Button, ErrorMessage, Field, State } from './primitives';
import { RolloutForm, RolloutPart } from './rolloutPart';
import { useRollout } from './useRollout';
import { VersionCompare } from './versionCompare';

interface IProps {
  readonly name: string;
  /** All that are loaded; what is shown is asked for again when they change. */
  readonly statuses: readonly IModelStatus[];
  /** Whether anything can be done now. */
  readonly able: boolean;
}

/** What does one thing to the versions of a model: shows what came of it, or why it could not be done. */
type Act = (work: () => Promise<string | null>) => Promise<void>;

/** The versions of one model, what can be done with them, and which served when. */
export function VersionsPart({ name, statuses, able }: IProps): JSX.Element {
  const { model, trans } = usePanel();
  const [found, setFound] = React.useState<IVersionOverview | null>(null);
  const [said, setSaid] = React.useState('');
  const [trouble, setTrouble] = React.useState('');
  const [busy, setBusy] = React.useState(false);
  const [open, setOpen] = React.useState<{ readonly what: Open; readonly version: string } | null>(
    null
  );
  const actions = React.useMemo(
    () => new VersionActions(model.versions, trans, asking(trans)),
    [model, trans]
  );
  const asked = React.useRef(0);
  const refresh = React.useCallback(async () => {
    const mine = (asked.current += 1);
    try {
      const overview = await model.versions.overview(name);
      if (mine === asked.current) {
        setFound(overview);
      }
    } catch (error) {
      if (mine === asked.current) {
        setTrouble(capitalized((error as Error).message));
      }
    }
  }, [model, name]);
  const standing = statuses
    .map(each => [each.version, each.state, each.routed, each.version_labels, each.weight].join())
    .join(';');
  React.useEffect(() => void refresh(), [refresh, standing]);
  const root = React.useRef<HTMLDivElement>(null);
  const rollout = useRollout(model.versions, name, found, root, refresh);

  const act: Act = async work => {
    setTrouble('');
    setSaid('');
    setBusy(true);
    try {
      const words = await work();
      if (words !== null) {
        setOpen(null);
        setSaid(words);
      }
    } catch (error) {
      setTrouble(capitalized((error as Error).message));
    }
    setBusy(false);
    await refresh();
  };

  if (found === null) {
    return <ErrorMessage text={trouble} onDismiss={() => setTrouble('')} />;
  }
  const can = able && !busy;
  const serving = found.versions.find(({ routed }) => routed);
  const back = rollbackGoesTo(found);
  const beside = found.versions.filter(each => each.state === 'Ready' && !each.routed);
  const toggle = (what: Open, version: string) =>
    setOpen(open?.what === what && open.version === version ? null : { what, version });
  return (
    <div className="iw-Part" role="group" aria-label={trans.__('Versions of %1', name)} ref={root}>
      <ul className="iw-Versions">
        {[...found.versions].reverse().map(each => (
          <Version
            key={each.version}
            entry={each}
            back={each.before}
            able={can}
            labelling={open?.what === 'label' && open.version === each.version}
            onPromote={() => void act(() => actions.promote(name, each.version))}
            onCompare={serving && !each.routed ? () => toggle('compare', each.version) : undefined}
            onLabel={() => toggle('label', each.version)}
            onLabels={labels =>
              void act(() => actions.label(name, each.version, each.labels, labels))
            }
            onUnload={() => void act(() => actions.unload(name, each.version))}
          />
        ))}
      </ul>
      <div className="iw-Row">
        {serving && beside.length > 0 && (
          <Button
            label={trans.__('Split the calls')}
            disabled={!can}
            onClick={() => toggle('split', '')}
          />
        )}
        {serving && beside.length > 0 && rollout?.status !== 'running' && (
          <Button
            label={trans.__('Roll out')}
            disabled={!can}
            onClick={() => toggle('rollout', '')}
          />
        )}
        {back !== null && (
          <Button
            label={
              isSplit(found.versions)
                ? trans.__('End the split')
                : trans.__('Roll back to version %1', back)
            }
            disabled={!can}
            onClick={() => void act(() => actions.rollback(name, found))}
          />
        )}
      </div>
      <p className="iw-Text" role="status">
        {said}
      </p>
      <ErrorMessage text={trouble} onDismiss={() => setTrouble('')} />
      {open?.what === 'split' && (
        <SplitForm
          beside={beside}
          able={can}
          by={found.by ?? ''}
          onSplit={(weights, by) => void act(() => actions.split(name, weights, by))}
        />
      )}
      {open?.what === 'rollout' && rollout?.status !== 'running' && (
        <RolloutForm
          beside={beside}
          able={can}
          onBegin={asked => void act(() => actions.beginRollout(name, asked))}
        />
      )}
      {rollout && (
        <RolloutPart
          rollout={rollout}
          able={can}
          onStop={() => void act(() => actions.stopRollout(name, rollout))}
          onResume={() => void act(() => actions.resumeRollout(name))}
        />
      )}
      {open?.what === 'compare' && serving && (
        <VersionCompare
          key={open.version}
          name={name}
          versions={[serving.version, open.version]}
          able={can}
          canRollBack={back !== null}
          onPromote={() => void act(() => actions.promote(name, open.version))}
          onRollBack={() => void act(() => actions.rollback(name, found))}
        />
      )}
      <History found={found} />
    </div>
  );
}

type Open = 'split' | 'rollout' | 'compare' | 'label';

interface IVersionProps {
  readonly entry: IVersionEntry;
  readonly back: boolean;
  readonly able: boolean;
  readonly labelling: boolean;
  readonly onPromote: () => void;
  readonly onCompare: (() => void) | undefined;
  readonly onLabel: () => void;
  readonly onLabels: (labels: readonly string[]) => void;
  readonly onUnload: () => void;
}

function Version(props: IVersionProps): JSX.Element {
  const { entry, able, labelling, onCompare } = props;
  const { trans } = usePanel();
  const { version, state, routed, labels, weight, reason } = entry;
  const [tone, word] = entryState(trans, entry);
  const ready = state === 'Ready';
  const [typed, setTyped] = React.useState('');
  return (
    <li className="iw-Version" aria-label={trans.__('Version %1', version)} data-version={version}>
      <div className="iw-Version-head">
        <b>{`v${version}`}</b>
        <State tone={tone} word={word} />
        {weight > 0 && <span className="iw-Version-part">{percent(weight)}</span>}
      </div>
      {weight > 0 && weight < 1 && (
        <div className="iw-Version-bar" aria-hidden="true">
          <span style={{ width: `${weight * 100}%` }} />
        </div>
      )}
      {labels.length > 0 && (
        <p className="iw-Text iw-mod-quiet">{trans.__('Labels: %1', labels.join(', '))}</p>
      )}
      {sharesText(trans, entry).map(line => (
        <p className="iw-Text iw-mod-quiet" key={line}>
          {line}
        </p>
      ))}
      {props.back && (
        <p className="iw-Text iw-mod-quiet">{trans.__('A rollback goes back to it')}</p>
      )}
      {reason && <p className="iw-Text iw-mod-bad">{capitalized(reason)}</p>}
      <div className="iw-Version-acts">
        {ready && !routed && (
          <Act word={trans.__('Promote')} of={version} able={able} onClick={props.onPromote} />
        )}
        {ready && onCompare && (
          <Act word={trans.__('Compare')} of={version} able={able} onClick={onCompare} />
        )}
        {ready && (
          <Act
            word={trans.__('Label')}
            of={version}
            able={able}
            onClick={() => {
              setTyped(labels.join(', '));
              props.onLabel();
            }}
          />
        )}
        {state !== 'stored' && !routed && (
          <Act word={trans.__('Unload')} of={version} able={able} onClick={props.onUnload} />
        )}
      </div>
      {labelling && (
        <form
          className="iw-Version-form"
          aria-label={trans.__('Labels of version %1', version)}
          onSubmit={event => {
            event.preventDefault();
            props.onLabels(labelsFrom(typed));
          }}
        >
          <Field
            label={trans.__('Labels of version %1', version)}
            text={typed}
            onText={setTyped}
            wrong=""
            placeholder={trans.__('stable, canary')}
          />
          <Button label={trans.__('Set')} submit disabled={!able} />
        </form>
      )}
    </li>
  );
}

/** A small action on one version. */
function Act(props: { word: string; of: string; able: boolean; onClick: () => void }): JSX.Element {
  const { trans } = usePanel();
  return (
    <button
      type="button"
      className="iw-Link"
      disabled={!props.able}
      aria-label={trans.__('%1 version %2', props.word, props.of)}
      onClick={props.onClick}
    >
      {props.word}
    </button>
  );
}

interface ISplitProps {
  readonly beside: readonly IVersionEntry[];
  readonly able: boolean;
  /** What keeps calls on one side now. */
  readonly by: string;
  readonly onSplit: (weights: Readonly<Record<string, number>>, by: string) => void;
}

/** Which part of the calls each version gets beside the one that serves. */
function SplitForm({ beside, able, by: before, onSplit }: ISplitProps): JSX.Element {
  const { trans } = usePanel();
  const [typed, setTyped] = React.useState<Readonly<Record<string, string>>>(() =>
    Object.fromEntries(
      beside.map(({ version, weight }) => [
        version,
        weight > 0 ? String(Number((weight * 100).toFixed(2))) : ''
      ])
    )
  );
  const [by, setBy] = React.useState(before);
  const weights = weightsFrom(trans, typed);
  const isWrong = typeof weights === 'string';
  return (
    <form
      className="iw-Part"
      aria-label={trans.__('Split the calls')}
      onSubmit={event => {
        event.preventDefault();
        if (!isWrong) {
          onSplit(weights, by.trim());
        }
      }}
    >
      <div className="iw-Fields">
        {beside.map(({ version }, i) => (
          <Field
            key={version}
            label={trans.__('Version %1, in %', version)}
            text={typed[version] ?? ''}
            onText={text => setTyped({ ...typed, [version]: text })}
            wrong={isWrong && i === 0 ? weights : ''}
            placeholder="0"
          />
        ))}
        <Field
          label={trans.__('By (user, share)')}
          text={by}
          onText={setBy}
          wrong=""
          placeholder={trans.__('each call')}
        />
      </div>
      <Button label={trans.__('Split')} primary submit disabled={!able || isWrong} />
    </form>
  );
}

/** What was done to the model, the latest first. */
function History({ found }: { found: IVersionOverview }): JSX.Element | null {
  const { trans } = usePanel();
  const [open, setOpen] = useCollapse(`served:${found.model}`, false);
  if (found.history.length === 0) {
    return null;
  }
  return (
    <div>
      <Collapsible label={trans.__('What served when')} open={open} onOpen={setOpen}>
        {/* It may scroll, by the keyboard, too. */}
        <ol className="iw-Version-history" tabIndex={0} aria-label={trans.__('What served when')}>
          {[...found.history].reverse().map(({ at, action, detail, who }) => (
            <li key={`${at} ${action}`}>
              <time dateTime={new Date(at * 1000).toISOString()}>{format.moment(at)}</time>{' '}
              {`${action}: ${detail} (${who})`}
            </li>
          ))}
        </ol>
      </Collapsible>
    </div>
  );
}
