import * as React from 'react';
import type { IRollout, IRolloutRequest, IVersionEntry } from '../service/versionWire';
import { NEW_ROLLOUT, type RolloutField, toRollout } from '../versions/rolloutForm';
import {
  clauseState,
  clauseText,
  reasonText,
  rolloutState,
  rolloutText
} from '../versions/rolloutLabels';
import { percent } from '../versions/versionLabels';
import { usePanel } from './panelContext';
import { Button, Field, State } from './primitives';

interface IProps {
  readonly rollout: IRollout;
  readonly able: boolean;
  readonly onStop: () => void;
  readonly onResume: () => void;
}

/** The last rollout of a model: where it is, what its guard has found, and what can be done. */
export function RolloutPart({ rollout, able, onStop, onResume }: IProps): JSX.Element {
  const { model, trans } = usePanel();
  const { version, status, reason, step, steps, clauses, guard } = rollout;
  const [tone, word] = rolloutState(trans, status);
  const open = status === 'running' || status === 'halted';
  return (
    <div
      className="iw-Part iw-Rollout"
      role="group"
      aria-label={trans.__('Rollout of version %1', version)}
      data-status={status}
    >
      <div className="iw-Version-head">
        <b>{trans.__('Rollout of v%1', version)}</b>
        <State tone={tone} word={word} />
      </div>
      <ol className="iw-Rollout-steps" aria-label={trans.__('Steps')}>
        {steps.map((part, i) => (
          <li
            key={part}
            className={stepClass(rollout, i + 1)}
            aria-current={open && i + 1 === step ? 'step' : undefined}
          >
            {percent(part)}
          </li>
        ))}
      </ol>
      <p className="iw-Text">{rolloutText(trans, rollout, model.time || Date.now() / 1000)}</p>
      {reason && (
        <p className={`iw-Text ${status === 'rolled back' ? 'iw-mod-bad' : ''}`}>
          {reasonText(rollout)}
        </p>
      )}
      {clauses.length > 0 ? (
        <ul className="iw-Rollout-clauses" aria-label={trans.__('Guard')}>
          {clauses.map(each => {
            const [found, said] = clauseState(trans, each.finding);
            return (
              <li key={each.clause} data-clause={each.clause}>
                <code>{each.clause}</code>
                <State tone={found} word={said} />
                <span className="iw-Text iw-mod-quiet">{clauseText(trans, each)}</span>
              </li>
            );
          })}
        </ul>
      ) : (
        status === 'running' && (
          <p className="iw-Text iw-mod-quiet">{trans.__('Guard: %1, not looked at yet', guard)}</p>
        )
      )}
      {open && (
        <div className="iw-Row">
          {status === 'halted' && (
            <Button label={trans.__('Resume')} primary disabled={!able} onClick={onResume} />
          )}
          <Button
            label={trans.__('Stop')}
            name={trans.__('Stop the rollout')}
            disabled={!able}
            onClick={onStop}
          />
        </div>
      )}
    </div>
  );
}

function stepClass({ status, step }: IRollout, each: number): string {
  if (each === step && status === 'rolled back') {
    return 'iw-mod-bad';
  }
  return each < step || status === 'done' ? 'iw-mod-past' : '';
}

interface IFormProps {
  /** The versions that are Ready and do not serve. */
  readonly beside: readonly IVersionEntry[];
  readonly able: boolean;
  readonly onBegin: (asked: IRolloutRequest) => void;
}

/** Begins a rollout: of which version, in which steps, and what must hold. */
export function RolloutForm({ beside, able, onBegin }: IFormProps): JSX.Element {
  const { trans } = usePanel();
  const id = React.useId();
  const [chosen, setChosen] = React.useState('');
  const [draft, setDraft] = React.useState(NEW_ROLLOUT);
  const newest = beside[beside.length - 1]?.version ?? '';
  const version = beside.some(each => each.version === chosen) ? chosen : newest;
  const { asked, wrong } = toRollout(trans, version, draft);
  const field = (key: RolloutField, label: string) => (
    <Field
      label={label}
      text={draft[key]}
      wrong={wrong.get(key) ?? ''}
      onText={typed => setDraft({ ...draft, [key]: typed })}
    />
  );
  return (
    <form
      className="iw-Part"
      aria-label={trans.__('Roll out')}
      onSubmit={event => {
        event.preventDefault();
        if (asked !== null) {
          onBegin(asked);
        }
      }}
    >
      <div className="iw-Fields">
        {beside.length > 1 && (
          <div className="iw-Field">
            <label htmlFor={id}>{trans.__('Version')}</label>
            <select
              id={id}
              className="jp-mod-styled"
              value={version}
              onChange={event => setChosen(event.target.value)}
            >
              {beside.map(each => (
                <option key={each.version}>{each.version}</option>
              ))}
            </select>
          </div>
        )}
        {field('steps', trans.__('Steps, in % of the calls'))}
        {field('every', trans.__('Each for'))}
        <div className="iw-Rollout-guard">{field('guard', trans.__('What must hold'))}</div>
      </div>
      <div className="iw-Row">
        <Button
          label={trans.__('Roll out version %1', version)}
          primary
          submit
          disabled={!able || asked === null}
        />
      </div>
    </form>
  );
}
