import * as React from 'react';
import * as format from '../ui/format';
import {
  formatRatio,
  figuresLine,
  foundNothing,
  holdsText,
  dateLabel,
  caveat,
  summaryOf
} from '../loadtest/loadtestLabels';
import { sparkPath } from '../ui/sparkPath';
import { CommandIDs } from '../tokens';
import type { IComparison, IRun, IRunFigures } from '../service/loadtestWire';
import { capitalized } from '../ui/labels';
import { Button, FigureList, Message, ErrorMessage, CodeText } from './primitives';
import { usePanel } from './panelContext';
import { useSignal } from './useSignal';

/** The number of runs listed before "more" is clicked. */
const FEW = 5;

interface IProps {
  /** The run to expand as soon as it is listed. */
  readonly begun: string;
  /** Whether the server can be asked. */
  readonly live: boolean;
}

/** The stored load tests, latest first; each can be expanded. */
export function Runs({ begun, live }: IProps): JSX.Element | null {
  const { model, trans } = usePanel();
  const id = React.useId();
  const { changed } = model.loadTests;
  const running = useSignal(changed, () => model.loadTests.running);
  const runs = useSignal(changed, () => model.loadTests.runs);
  const trouble = useSignal(changed, () => model.loadTests.trouble);
  const [open, setOpen] = React.useState('');
  const [all, setAll] = React.useState(false);
  React.useEffect(() => {
    if (live) {
      void model.loadTests.refresh();
    }
  }, [model, live]);
  const now = new Set(running.map(({ run }) => run));
  const ended = begun !== '' && !now.has(begun) && runs?.some(isEnded(begun));
  React.useEffect(() => {
    if (ended) {
      setOpen(begun);
    }
  }, [ended, begun]);
  const listed = (runs ?? []).filter(({ run }) => !now.has(run));
  const shown = all ? listed : listed.slice(0, FEW);
  return (
    <div className="iw-Runs">
      <h3 id={id}>{trans.__('History')}</h3>
      {trouble && (
        <Message tone="bad">
          <CodeText text={capitalized(trouble)} />{' '}
          <button type="button" className="iw-Link" onClick={() => void model.loadTests.refresh()}>
            {trans.__('Try again')}
          </button>
        </Message>
      )}
      {!trouble && listed.length === 0 && (
        <p className="iw-Text iw-mod-quiet">
          {runs === null
            ? trans.__('Looking…')
            : trans.__('What is tested here, in notebooks and on the command line is kept here.')}
        </p>
      )}
      <ul aria-labelledby={id}>
        {shown.map(run => (
          <Run
            key={run.run}
            run={run}
            others={listed}
            open={open === run.run}
            onToggle={() => setOpen(open === run.run ? '' : run.run)}
          />
        ))}
      </ul>
      {listed.length > FEW && (
        <button type="button" className="iw-Link" onClick={() => setAll(!all)}>
          {all ? trans.__('Show fewer') : trans.__('Show %1 more', listed.length - FEW)}
        </button>
      )}
    </div>
  );
}

function isEnded(name: string): (run: IRun) => boolean {
  return ({ run, state }) => run === name && state !== 'running';
}

interface IRunProps {
  readonly run: IRun;
  readonly others: readonly IRun[];
  readonly open: boolean;
  readonly onToggle: () => void;
}

function Run({ run, others, open, onToggle }: IRunProps): JSX.Element {
  const { trans } = usePanel();
  const id = React.useId();
  const root = React.useRef<HTMLLIElement>(null);
  const stands = caveat(trans, run, false);
  const line = figuresLine(trans, run);
  const [figures, setFigures] = React.useState<IRunFigures | null>(null);
  const [trouble, setTrouble] = React.useState('');
  const { model } = usePanel();
  const { run: name, state } = run;
  React.useEffect(() => {
    let asked = open;
    if (asked) {
      model.loadTests.figures(name).then(
        found => {
          if (asked) {
            setTrouble('');
            setFigures(found);
          }
        },
        (error: Error) => asked && setTrouble(capitalized(error.message))
      );
    }
    return () => {
      asked = false;
    };
  }, [model, name, state, open]);
  React.useEffect(() => {
    if (open && figures !== null) {
      root.current?.scrollIntoView({ block: 'nearest' });
    }
  }, [open, figures]);
  return (
    <li ref={root} className="iw-Run" aria-label={name} data-run={name}>
      <button
        type="button"
        className="iw-Run-head"
        aria-expanded={open}
        aria-controls={id}
        onClick={onToggle}
      >
        <span className="iw-Run-name" title={name}>
          {name}
        </span>
        <span className="iw-Run-when">{dateLabel(run.started_at, Date.now() / 1000)}</span>
        <span className="iw-Run-what">{summaryOf(trans, run)}</span>
        <span className="iw-Run-line">
          {line}
          {stands && (
            <>
              {line && ' · '}
              <em>{stands}</em>
            </>
          )}
        </span>
      </button>
      <div id={id} hidden={!open}>
        {open && <ErrorMessage text={trouble} />}
        {open && !trouble && (figures ? <Figures run={figures} others={others} /> : null)}
      </div>
    </li>
  );
}

/** The result of a run: a sentence, figures, plots over time and actions. */
function Figures({ run, others }: { run: IRunFigures; others: readonly IRun[] }): JSX.Element {
  const { commands, trans } = usePanel();
  const { quantiles, points, details } = run;
  const columns: readonly (readonly [name: string, words: string])[] = [
    [trans.__('answered/s'), format.rate(run.answered_per_s)],
    [trans.__('p50'), format.duration(quantiles.p50_s)],
    [trans.__('p90'), format.duration(quantiles.p90_s)],
    [trans.__('p99'), format.duration(quantiles.p99_s)],
    [trans.__('p99.9'), format.duration(quantiles.p99_9_s)],
    [trans.__('max'), format.duration(quantiles.max_s)]
  ];
  return (
    <div className="iw-Run-body">
      <p className="iw-Text iw-Run-sentence">{run.sentence}</p>
      {run.limited && <p className="iw-Text">{details[0]}</p>}
      {!foundNothing(run) && <FigureList figures={columns} />}
      {points.length === 0 && <Course run={run} />}
      {points.length > 0 && (
        <Table
          label={trans.__('Its tests')}
          head={[trans.__('test'), trans.__('answered/s'), trans.__('p99'), trans.__('holds')]}
          rows={points.map(point => [
            point.label,
            format.rate(point.answered_per_s),
            format.duration(point.p99_s),
            holdsText(trans, point)
          ])}
        />
      )}
      <details className="iw-Details">
        <summary>{trans.__('More')}</summary>
        {[...(run.limited ? details.slice(1) : details), run.generator].map(each => (
          <p key={each} className="iw-Text iw-mod-quiet">
            {each}
          </p>
        ))}
      </details>
      <div className="iw-Row">
        <Button
          label={trans.__('Open report')}
          name={trans.__('Open report of %1', run.run)}
          primary
          onClick={() => void commands.execute(CommandIDs.report, { run: run.run })}
        />
      </div>
      <Compare run={run} others={others} />
    </div>
  );
}

interface ITableProps {
  readonly label: string;
  /** The column headings; the first may be empty. */
  readonly head: readonly string[];
  /** Each row begins with its name. */
  readonly rows: readonly (readonly string[])[];
}

function Table({ label, head, rows }: ITableProps): JSX.Element {
  return (
    <div className="iw-Scroll iw-Run-scroll" tabIndex={0} role="group" aria-label={label}>
      <table>
        <thead>
          <tr>
            {head.map((name, i) =>
              name === '' ? (
                <td key={i} />
              ) : (
                <th key={i} scope="col">
                  {name}
                </th>
              )
            )}
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, ...cells], i) => (
            <tr key={i}>
              <th scope="row">{name}</th>
              {cells.map((cell, j) => (
                <td key={j}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const WIDTH = 240;
const HEIGHT = 32;

/** Two small plots over time: answers per second, and p99. */
function Course({ run }: { run: IRunFigures }): JSX.Element | null {
  const { trans } = usePanel();
  // Leaves out a last second that is not complete, since fewer answers fall into it.
  const seconds = run.seconds.filter(
    ({ warm_up, at_s }) => !warm_up && at_s < run.duration_s - 0.5
  );
  const first = seconds[0];
  const last = seconds[seconds.length - 1];
  if (first === undefined || last === undefined || seconds.length < 3) {
    return null;
  }
  const frame = {
    now: last.at_s,
    window_s: Math.max(last.at_s - first.at_s, 1e-9),
    width: WIDTH,
    height: HEIGHT
  };
  const time = seconds.map(({ at_s }) => at_s);
  const rates = sparkPath(
    time,
    seconds.map(({ answered_per_s }) => answered_per_s),
    frame
  );
  const slow = sparkPath(
    time,
    seconds.map(({ p99_s }) => p99_s),
    frame
  );
  const pictures = [
    [trans.__('answered/s'), format.rate(rates.top), rates],
    [trans.__('p99'), format.duration(slow.top), slow]
  ] as const;
  return (
    <div className="iw-Course">
      {pictures.map(([name, top, { line, area }]) => (
        <figure key={name}>
          <figcaption>{trans.__('%1, up to %2', name, top)}</figcaption>
          <svg
            className="iw-Spark"
            role="img"
            aria-label={trans.__('%1 over time, up to %2', name, top)}
            viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
            preserveAspectRatio="none"
          >
            <path className="iw-Spark-area" d={area} />
            <path className="iw-Spark-line" d={line} />
          </svg>
        </figure>
      ))}
    </div>
  );
}

/** Compares this run with an earlier or any other one. */
function Compare({
  run,
  others
}: {
  run: IRunFigures;
  others: readonly IRun[];
}): JSX.Element | null {
  const { model, trans } = usePanel();
  const id = React.useId();
  const [other, setOther] = React.useState('');
  const [found, setFound] = React.useState<IComparison | null>(null);
  const [trouble, setTrouble] = React.useState('');
  const choices = others.filter(each => each.run !== run.run && each.state !== 'running');
  const sorted = [
    ...choices.filter(each => each.model === run.model),
    ...choices.filter(each => each.model !== run.model)
  ];
  const name = run.run;
  React.useEffect(() => {
    setFound(null);
    setTrouble('');
    let asked = other !== '';
    if (asked) {
      model.loadTests.compare(other, name).then(
        comparison => asked && setFound(comparison),
        (error: Error) => asked && setTrouble(capitalized(error.message))
      );
    }
    return () => {
      asked = false;
    };
  }, [model, name, other]);
  if (sorted.length === 0) {
    return null;
  }
  return (
    <div className="iw-Compare">
      <div className="iw-Compare-with">
        <label htmlFor={id}>{trans.__('Compare with')}</label>
        <select id={id} value={other} onChange={event => setOther(event.target.value)}>
          <option value="">{trans.__('…')}</option>
          {sorted.map(each => (
            <option key={each.run} value={each.run}>
              {each.run}
            </option>
          ))}
        </select>
      </div>
      <div role="status">
        {found && <p className="iw-Text iw-Run-sentence">{found.sentence}.</p>}
      </div>
      <ErrorMessage text={trouble} />
      {found && found.ratios.length > 0 && (
        <Table
          label={trans.__('Figures of both')}
          head={['', other, name, trans.__('ratio')]}
          rows={found.ratios.map(ratio => [
            ratio.name,
            formatRatio(ratio, ratio.a),
            formatRatio(ratio, ratio.b),
            ratio.ratio === null ? format.UNKNOWN : ratio.ratio.toPrecision(3)
          ])}
        />
      )}
      {found && (
        <details className="iw-Details">
          <summary>{trans.__('Differences and caveats')}</summary>
          {found.cautions.map(each => (
            <p key={each} className="iw-Text iw-mod-quiet">
              {each}
            </p>
          ))}
          {found.differences.map(({ what, a, b }) => (
            <p key={what} className="iw-Text iw-mod-quiet">
              {trans.__('%1: %2, now %3', what, a, b)}
            </p>
          ))}
        </details>
      )}
    </div>
  );
}
