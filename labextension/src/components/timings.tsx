import * as React from 'react';
import * as format from '../ui/format';
import { segments, travelled } from '../forms/tryoutForm';
import type { ITimings } from '../service/wire';
import { usePanel } from './panelContext';

interface IProps {
  readonly timings: ITimings;
  /** False for a pipeline: each of its stages ran in a batch of its own. */
  readonly oneBatch: boolean;
}

/** How long a request spent in each stage, as a bar and as text, and in which batch it ran. */
export function Timings({ timings, oneBatch }: IProps): JSX.Element {
  const { trans } = usePanel();
  const parts = segments(timings);
  return (
    <div className="iw-Timings">
      <div className="iw-Timings-bar" aria-hidden="true">
        {parts.map(({ stage, part }) => (
          <span key={stage} className={`iw-mod-${stage}`} style={{ flexGrow: part }} />
        ))}
      </div>
      <dl className="iw-Timings-legend">
        {parts.map(({ stage, seconds }) => (
          <div key={stage}>
            <dt className={`iw-mod-${stage}`}>{stage}</dt>
            <dd data-stage={stage}>{format.duration(seconds)}</dd>
          </div>
        ))}
      </dl>
      {oneBatch && <p className="iw-Text iw-mod-quiet">{travelled(trans, timings)}</p>}
    </div>
  );
}
