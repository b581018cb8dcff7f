import * as React from 'react';
import { type IStageLine, stageLines } from '../forms/tryoutStages';
import type { IStage } from '../service/wire';
import * as format from '../ui/format';
import { usePanel } from './panelContext';

/** A waterfall of a pipeline's stages: a line for each, with its version and what it took. */
export function Stages({ stages }: { stages: readonly IStage[] }): JSX.Element {
  const { trans } = usePanel();
  const lines = React.useMemo(() => stageLines(stages), [stages]);
  return (
    <ol className="iw-Stages" aria-label={trans.__('Stages')}>
      {lines.map((line, i) => (
        <li key={i} data-stage-of={line.name}>
          <span
            className="iw-Stages-name"
            style={{ paddingLeft: `${12 * line.depth}px` }}
            title={trans.__('%1, version %2', line.name, line.version)}
          >
            {line.name}{' '}
            <span className="iw-mod-quiet" aria-hidden="true">
              v{line.version}
            </span>
            <span className="iw-Hidden">{trans.__('version %1', line.version)}</span>
          </span>{' '}
          <Bar line={line} />
          <span className="iw-Stages-time">{format.duration(line.seconds)}</span>
        </li>
      ))}
    </ol>
  );
}

function Bar({ line }: { line: IStageLine }): JSX.Element {
  return (
    <span className="iw-Stages-track" aria-hidden="true">
      <span
        className="iw-Stages-bar"
        style={{ marginLeft: `${100 * line.from}%`, width: `${100 * line.length}%` }}
      >
        {line.segments.map(({ stage, part }) => (
          <span key={stage} className={`iw-mod-${stage}`} style={{ flexGrow: part }} />
        ))}
      </span>
    </span>
  );
}
