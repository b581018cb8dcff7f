import * as React from 'react';
import { combinations, type ITestDraft, SWEEPS } from '../loadtest/loadtestForm';
import { sweepHint, sweepLabel } from '../loadtest/loadtestLabels';
import { Field } from './primitives';
import { usePanel } from './panelContext';

interface IProps {
  readonly draft: ITestDraft;
  readonly wrong: ReadonlyMap<string, string>;
  readonly onDraft: (draft: ITestDraft) => void;
}

/** Fields for the settings that a sweep varies, and their values. */
export function Sweeps({ draft, wrong, onDraft }: IProps): JSX.Element {
  const { trans } = usePanel();
  const { swept, values } = draft;
  return (
    <div className="iw-Part">
      <fieldset className="iw-LoadTests-sweeps">
        <legend>{trans.__('The same load with different settings: which serve it best?')}</legend>
        {SWEEPS.map(each => (
          <label key={each} className="iw-LoadTests-check">
            <input
              type="checkbox"
              checked={swept.includes(each)}
              onChange={event =>
                onDraft({
                  ...draft,
                  swept: event.target.checked
                    ? [...swept, each]
                    : swept.filter(other => other !== each)
                })
              }
            />
            {sweepLabel(trans, each)}
          </label>
        ))}
      </fieldset>
      {swept.length > 0 && (
        <>
          <div className="iw-Fields">
            {SWEEPS.filter(each => swept.includes(each)).map(each => (
              <Field
                key={each}
                label={trans.__('%1, values', sweepLabel(trans, each))}
                text={values[each]}
                placeholder={trans.__('usual ones')}
                wrong={wrong.get(each) ?? ''}
                onText={text => onDraft({ ...draft, values: { ...values, [each]: text } })}
              />
            ))}
          </div>
          <p className="iw-Text iw-mod-quiet">{sweepHint(trans, combinations(draft))}</p>
        </>
      )}
    </div>
  );
}
