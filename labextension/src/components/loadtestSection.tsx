import * as React from 'react';
import {
  fieldsOf,
  type IField,
  type ITestDraft,
  NEW_TEST,
  patternOf,
  SWEEPS,
  sweepsOf,
  toLoadTest
} from '../loadtest/loadtestForm';
import { progress, runStateLabel, stepText, summaryOf } from '../loadtest/loadtestLabels';
import * as format from '../ui/format';
import { groupByModel } from '../service/groupByModel';
import type { IView } from '../service/state';
import type { ILoadForm, IRunning } from '../service/loadtestWire';
import { capitalized } from '../ui/labels';
import { ModelField } from './modelField';
import { Button, Field, FigureList, Section, ErrorMessage } from './primitives';
import { useReveal, useCollapse, usePanel } from './panelContext';
import { useModelToPlot } from './useModelToPlot';
import { useSignal } from './useSignal';
import { Collapsible } from './collapsible';

/** Loaded when the section is first expanded, so that the panel appears sooner. */
const Runs = React.lazy(async () => ({ default: (await import('./loadtestRuns')).Runs }));

/** Loaded when the sweep fields are first expanded. */
const Sweeps = React.lazy(async () => ({ default: (await import('./sweepFields')).Sweeps }));

/** The load tests: a form to start one, those that run, and the stored ones. */
export function LoadTestsSection({ view }: { view: IView }): JSX.Element {
  const { trans, loadtestTarget } = usePanel();
  const [model, setModel] = React.useState(loadtestTarget.model);
  /** The run started here last; it is expanded when it has ended. */
  const [begun, setBegun] = React.useState('');
  const root = useReveal('load-tests', loadtestTarget.requested, () =>
    setModel(loadtestTarget.model)
  );
  return (
    <Section name="load-tests" title={trans.__('Load tests')}>
      <div ref={root} className="iw-LoadTests">
        <Contents
          part={root}
          view={view}
          model={model}
          onModel={setModel}
          begun={begun}
          onBegun={setBegun}
        />
      </div>
    </Section>
  );
}

interface IContentsProps {
  readonly part: React.RefObject<HTMLElement>;
  readonly view: IView;
  readonly model: string;
  readonly onModel: (name: string) => void;
  readonly begun: string;
  readonly onBegun: (run: string) => void;
}

function Contents(props: IContentsProps): JSX.Element {
  const { part, view, model: chosen, onModel, begun, onBegun } = props;
  const { model, trans } = usePanel();
  const running = useSignal(model.loadTests.changed, () => model.loadTests.running);
  const names = groupByModel(view.models)
    .filter(({ current }) => current.state === 'Ready' && current.routed)
    .map(({ name }) => name);
  const isChosen = names.includes(chosen);
  const picked = useModelToPlot(model, part, isChosen ? chosen : null, names, view);
  const name = picked !== null && names.includes(picked) ? picked : '';
  const isReady = view.service?.state === 'Ready' && view.link.kind === 'live';
  return (
    <>
      {name === '' || !isReady ? (
        <p className="iw-Text iw-mod-quiet">
          {isReady
            ? trans.__('Load a model, and how many requests it takes is found out here.')
            : trans.__('Load tests need the service: start it, or load a model.')}
        </p>
      ) : (
        <Begin
          names={names}
          name={name}
          busy={running.some(each => each.model === name)}
          onModel={onModel}
          onBegun={onBegun}
        />
      )}
      {running.map(each => (
        <Running key={each.run} running={each} />
      ))}
      <React.Suspense fallback={null}>
        <Runs begun={begun} live={view.link.kind === 'live'} />
      </React.Suspense>
    </>
  );
}

/** Keeps the typed values until the page is closed. */
let lastDraft: ITestDraft = NEW_TEST;

interface IBeginProps {
  readonly names: readonly string[];
  readonly name: string;
  /** A load test of this model is running. */
  readonly busy: boolean;
  readonly onModel: (name: string) => void;
  readonly onBegun: (run: string) => void;
}

function Begin(props: IBeginProps): JSX.Element | null {
  const { model } = usePanel();
  const [form, setForm] = React.useState<ILoadForm | null>(null);
  const [trouble, setTrouble] = React.useState('');
  React.useEffect(() => {
    let isShown = true;
    model.loadTests.form().then(
      found => isShown && setForm(found),
      (error: Error) => isShown && setTrouble(capitalized(error.message))
    );
    return () => {
      isShown = false;
    };
  }, [model]);
  return form === null ? <ErrorMessage text={trouble} /> : <BeginForm {...props} form={form} />;
}

function BeginForm({
  names,
  name,
  busy,
  onModel,
  onBegun,
  form
}: IBeginProps & { readonly form: ILoadForm }): JSX.Element {
  const { model, trans } = usePanel();
  const id = React.useId();
  const [draft, setDraft] = React.useState(lastDraft);
  lastDraft = draft;
  const [optionsOpen, setOptionsOpen] = useCollapse('load-test-options', false);
  const [beginning, setBeginning] = React.useState(false);
  const [trouble, setTrouble] = React.useState('');
  const { test, wrong } = toLoadTest(trans, form, draft);
  const pattern = patternOf(form, draft);
  const options = fieldsOf(form.options, draft);
  const sweeps = sweepsOf(pattern, draft);
  const [sweepOpen, setSweepOpen] = useCollapse('load-test-sweep', false);
  const isSweep = sweeps.length > 0;
  const hidden =
    (options.some(({ key }) => wrong.has(key)) && !optionsOpen) ||
    (SWEEPS.some(field => wrong.has(field)) && !sweepOpen);

  const begin = async () => {
    if (wrong.size > 0 || busy || beginning) {
      return;
    }
    onModel(name);
    setTrouble('');
    setBeginning(true);
    try {
      onBegun(await model.loadTests.start(name, test));
    } catch (error) {
      setTrouble(capitalized((error as Error).message));
    } finally {
      setBeginning(false);
    }
  };

  const field = ({ key, label, text, option }: IField) => (
    <Field
      key={key}
      label={label}
      text={text}
      lines={option.type === 'times' ? 3 : undefined}
      wrong={wrong.get(key) ?? ''}
      onText={typed => setDraft({ ...draft, texts: { ...draft.texts, [key]: typed } })}
    />
  );

  return (
    <form
      className="iw-Part"
      aria-label={trans.__('Begin a load test')}
      // A user who fills in the form wants its model: it stays when another one becomes the busiest.
      onChangeCapture={() => onModel(name)}
      onSubmit={event => {
        event.preventDefault();
        void begin();
      }}
    >
      <div className="iw-Fields">
        <ModelField trans={trans} names={names} value={name} onModel={onModel} />
        <div className="iw-Field">
          <label htmlFor={`${id}-kind`}>{trans.__('Load')}</label>
          <select
            id={`${id}-kind`}
            className="jp-mod-styled"
            value={pattern.kind}
            aria-describedby={`${id}-hint`}
            onChange={event => setDraft({ ...draft, kind: event.target.value })}
          >
            {form.patterns.map(({ kind, title }) => (
              <option key={kind} value={kind}>
                {title}
              </option>
            ))}
          </select>
        </div>
        {fieldsOf(pattern.fields, draft).map(field)}
      </div>
      <p id={`${id}-hint`} className="iw-Text iw-mod-quiet">
        {pattern.hint}
      </p>
      <div>
        <Collapsible label={trans.__('Options')} open={optionsOpen} onOpen={setOptionsOpen}>
          <div className="iw-Part">
            <div className="iw-Fields">{options.map(field)}</div>
            {pattern.fields
              .filter(({ type }) => type === 'flag')
              .map(({ name: flag, labels }) => (
                <label key={flag} className="iw-LoadTests-check">
                  <input
                    type="checkbox"
                    checked={draft.flags.includes(flag)}
                    onChange={event => {
                      const others = draft.flags.filter(each => each !== flag);
                      setDraft({
                        ...draft,
                        flags: event.target.checked ? [...others, flag] : others
                      });
                    }}
                  />
                  {labels[0]}
                </label>
              ))}
          </div>
        </Collapsible>
      </div>
      {pattern.sweeps && (
        <div>
          <Collapsible
            label={
              isSweep ? trans.__('Try settings: %1', sweeps.join(', ')) : trans.__('Try settings')
            }
            open={sweepOpen}
            onOpen={setSweepOpen}
          >
            <React.Suspense fallback={null}>
              <Sweeps draft={draft} wrong={wrong} onDraft={setDraft} />
            </React.Suspense>
          </Collapsible>
        </div>
      )}
      <div className="iw-Row">
        <Button
          label={
            beginning
              ? trans.__('Starting…')
              : isSweep
                ? trans.__('Start the sweep')
                : trans.__('Start the test')
          }
          submit
          primary
          disabled={wrong.size > 0 || busy || beginning}
          title={busy ? trans.__('A load test of this model is running') : undefined}
        />
      </div>
      {hidden && <p className="iw-Text iw-mod-bad">{trans.__('Look at what is folded.')}</p>}
      <ErrorMessage text={trouble} onDismiss={() => setTrouble('')} />
    </form>
  );
}

/** A running load test: its progress and its figures so far. */
function Running({ running }: { running: IRunning }): JSX.Element {
  const { model, trans } = usePanel();
  const [trouble, setTrouble] = React.useState('');
  const { run, elapsed_s, total_s, errors, done } = running;
  const value = progress(running);
  const step = stepText(trans, running);
  const stop = () => {
    setTrouble('');
    model.loadTests.stop(run).catch((error: Error) => setTrouble(capitalized(error.message)));
  };
  const figures: readonly (readonly [name: string, words: string])[] = [
    [trans.__('answered/s'), format.rate(running.rate_per_s)],
    [trans.__('p50'), format.duration(running.p50_s)],
    [trans.__('p99'), format.duration(running.p99_s)],
    [trans.__('errors'), errors.toLocaleString('en-US')]
  ];
  return (
    <div
      className="iw-Running"
      role="group"
      aria-label={trans.__('Load test %1, under way', run)}
      data-run={run}
    >
      <div className="iw-Running-head">
        <strong className="iw-Running-name" title={run}>
          {run}
        </strong>
        <span role="status">{runStateLabel(trans, running)}</span>
      </div>
      <p className="iw-Text iw-mod-quiet">{summaryOf(trans, running)}</p>
      <progress
        value={value}
        aria-label={trans.__('How far it is')}
        aria-valuetext={trans.__(
          '%1 of %2',
          `${Math.floor(elapsed_s)} s`,
          format.duration(total_s)
        )}
      />
      <div className="iw-Running-far">
        {step && <span className="iw-Running-step">{step}</span>}
        <span>{trans.__('%1 of %2 s', Math.floor(elapsed_s), Math.round(total_s * 10) / 10)}</span>
        <span>{trans._n('%1 answer', '%1 answers', done)}</span>
      </div>
      <FigureList figures={figures} />
      <div className="iw-Row">
        <Button
          label={trans.__('Stop')}
          name={trans.__('Stop the load test %1', run)}
          disabled={running.stopping}
          onClick={stop}
        />
      </div>
      <ErrorMessage text={trouble} onDismiss={() => setTrouble('')} />
    </div>
  );
}
