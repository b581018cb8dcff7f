import * as React from 'react';
import * as format from '../ui/format';
import { read, type Texts, textsSent } from '../forms/tryoutAnswer';
import {
  type Given,
  givenFiles,
  givenTexts,
  type IInputField,
  inputFields,
  isGiven,
  textOf
} from '../forms/tryoutFields';
import { asTyped, kind, prefill, typedInputs } from '../forms/tryoutForm';
import { stageNames } from '../forms/tryoutStages';
import type { IModelStatus, ITried } from '../service/wire';
import { capitalized } from '../ui/labels';
import { Answer } from './answer';
import { PictureInput } from './pictureInput';
import { Button, Field, ErrorMessage } from './primitives';
import { usePanel } from './panelContext';
import { Stages } from './stages';
import { Tensor } from './tensor';
import { Timings } from './timings';
import { useSignal } from './useSignal';

interface IProps {
  readonly status: IModelStatus;
  /** False while the model cannot be called. */
  readonly able: boolean;
}

/** Where an input comes from: fields for texts and pictures, where the model takes nothing else. */
type Source = 'fields' | 'random' | 'json';

/** Sends one request, with random or given inputs, and shows the response. */
export function TryIt({ status, able }: IProps): JSX.Element {
  const { model, trans } = usePanel();
  const { name } = status;
  const inputs = React.useMemo(() => status.inputs ?? [], [status.inputs]);
  const id = React.useId();
  const models = useSignal(model.stateChanged, () => model.state.models);
  const fields = React.useMemo(() => inputFields(status, models), [status, models]);
  const pictures = fields?.some(field => field.kind === 'picture') ?? false;
  /** Null until chosen: the fields then, where there are any. */
  const [chosen, setChosen] = React.useState<Source | null>(null);
  const source = chosen ?? (fields ? 'fields' : 'random');
  const [given, setGiven] = React.useState<Given>(new Map());
  const [rows, setRows] = React.useState('1');
  const [seed, setSeed] = React.useState('');
  /** Null until edited: the text then follows the signature. */
  const [text, setText] = React.useState<string | null>(null);
  const [busy, setBusy] = React.useState(false);
  const [trouble, setTrouble] = React.useState('');
  const [tried, setTried] = React.useState<ITried | null>(null);
  /** The texts that were sent with it, in full. */
  const [texts, setTexts] = React.useState<Texts>({});
  const typed = text ?? prefill(inputs);
  const batched = status.max_batch_size > 0 && inputs.every(({ shape }) => shape[0] === -1);
  const count = batched ? whole(rows, 1, status.max_batch_size) : 1;
  const from = seed.trim() === '' ? null : whole(seed, 0, 2 ** 32 - 1);
  const fits =
    source === 'fields'
      ? fields !== null && isGiven(fields, given)
      : source === 'random'
        ? count !== undefined && from !== undefined
        : typed.trim() !== '';

  const reading = React.useMemo(
    () => tried && read(tried.outputs, status.labels ?? {}, texts),
    [tried, status.labels, texts]
  );

  const send = async () => {
    if (!fits || busy || !able) {
      return;
    }
    setTrouble('');
    setBusy(true);
    try {
      const answer = await model.tryOut(name, {
        inputs:
          source === 'random'
            ? null
            : source === 'json'
              ? typedInputs(trans, typed, inputs)
              : givenTexts(fields ?? [], given),
        rows: count ?? 1,
        seed: source === 'random' ? (from ?? null) : null,
        files: source === 'fields' ? givenFiles(fields ?? [], given) : new Map()
      });
      setTexts(source === 'fields' ? textsGiven(fields ?? [], given) : textsSent(answer.inputs));
      setTried(answer);
    } catch (error) {
      setTried(null);
      setTrouble(capitalized((error as Error).message));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form
      className="iw-Part"
      aria-label={trans.__('Try %1', name)}
      onSubmit={event => {
        event.preventDefault();
        void send();
      }}
    >
      {!pictures && (
        <fieldset className="iw-Choice">
          <legend className="iw-Hidden">{trans.__('Input')}</legend>
          {SOURCES.filter(each => each !== 'fields' || fields !== null).map(each => (
            <label key={each}>
              <input
                type="radio"
                name={`${id}-input`}
                checked={source === each}
                onChange={() => setChosen(each)}
              />
              {each === 'fields'
                ? trans.__('Text')
                : each === 'random'
                  ? trans.__('Random input')
                  : trans.__('JSON')}
            </label>
          ))}
        </fieldset>
      )}
      {source !== 'fields' && (
        <p className="iw-Text iw-mod-quiet">
          {inputs.map(spec => (
            <span key={spec.name} className="iw-Spec">
              <code>{spec.name}</code> {kind(spec)}
            </span>
          ))}
        </p>
      )}
      {status.pipeline && (
        <p className="iw-Text iw-mod-quiet" data-part="stages">
          {trans.__(
            'Stages: %1',
            stageNames(status.pipeline.steps, (model, version) =>
              trans.__('%1, version %2', model, version)
            )
          )}
        </p>
      )}
      {source === 'fields' && (
        <InputFields fields={fields ?? []} given={given} onGiven={setGiven} onSend={send} />
      )}
      {source === 'random' && (
        <div className="iw-Fields">
          {batched && (
            <Field
              label={trans.__('Rows')}
              text={rows}
              inputMode="numeric"
              wrong={
                count === undefined
                  ? trans.__('A whole number from 1 to %1', status.max_batch_size)
                  : ''
              }
              onText={setRows}
            />
          )}
          <Field
            label={trans.__('Seed')}
            text={seed}
            inputMode="numeric"
            placeholder={trans.__('new each time')}
            wrong={from === undefined ? trans.__('A whole number, or nothing') : ''}
            onText={setSeed}
          />
        </div>
      )}
      {source === 'json' && (
        <>
          <textarea
            className="iw-Json jp-mod-styled"
            aria-label={trans.__('Inputs as JSON')}
            value={typed}
            rows={Math.min(10, Math.max(4, typed.split('\n').length))}
            spellCheck={false}
            placeholder={`{"${inputs[0]?.name ?? 'x'}": [[…]]}`}
            onChange={event => setText(event.target.value)}
            onKeyDown={onControlEnter(send)}
          />
          {prefill(inputs) === '' && typed === '' && (
            <p className="iw-Text iw-mod-quiet">
              {trans.__(
                'This input is too long to type: paste it here, try a random one, or call the model from a notebook.'
              )}
            </p>
          )}
        </>
      )}
      <div className="iw-Row">
        <Button
          label={busy ? trans.__('Sending…') : trans.__('Send')}
          submit
          primary
          disabled={!fits || busy || !able}
        />
        {source === 'json' && text !== null && (
          <Button label={trans.__('Begin anew')} onClick={() => setText(null)} />
        )}
      </div>
      <p className="iw-Text" role="status">
        {tried
          ? trans.__('Version %1 answered in %2.', tried.version, format.duration(tried.seconds))
          : ''}
      </p>
      <ErrorMessage text={trouble} onDismiss={() => setTrouble('')} />
      {tried && (
        <>
          {reading && <Answer reading={reading} />}
          <Timings timings={tried.timings} oneBatch={!tried.stages?.length} />
          {tried.stages && tried.stages.length > 0 && <Stages stages={tried.stages} />}
          {reading ? (
            <details className="iw-Details">
              <summary>{trans.__('As tensors')}</summary>
              <Tensors tensors={tried.outputs} />
            </details>
          ) : (
            <Tensors tensors={tried.outputs} />
          )}
          {tried.inputs.length > 0 && (
            <details className="iw-Details">
              <summary>{trans.__('What was sent')}</summary>
              <Tensors tensors={tried.inputs} />
              {!pictures && asTyped(tried.inputs) !== '' && (
                <Button
                  label={trans.__('Change it')}
                  title={trans.__('Take it over as JSON')}
                  onClick={() => {
                    setText(asTyped(tried.inputs));
                    setChosen('json');
                  }}
                />
              )}
            </details>
          )}
        </>
      )}
    </form>
  );
}

const SOURCES: readonly Source[] = ['fields', 'random', 'json'];

function Tensors({ tensors }: { tensors: ITried['outputs'] }): JSX.Element {
  return (
    <>
      {tensors.map(tensor => (
        <Tensor key={tensor.name} tensor={tensor} />
      ))}
    </>
  );
}

interface IInputFieldsProps {
  readonly fields: readonly IInputField[];
  readonly given: Given;
  readonly onGiven: (given: Given) => void;
  readonly onSend: () => Promise<void>;
}

/** A text area or a place for a picture for each input. */
function InputFields({ fields, given, onGiven, onSend }: IInputFieldsProps): JSX.Element {
  const set = (name: string, value: string | File | null) => {
    const next = new Map(given);
    if (value === null) {
      next.delete(name);
    } else {
      next.set(name, value);
    }
    onGiven(next);
  };
  return (
    <div className="iw-TryFields" onKeyDown={onControlEnter(onSend)}>
      {fields.map(({ spec: { name, shape }, kind: what }) => {
        const file = given.get(name);
        return what === 'picture' ? (
          <PictureInput
            key={name}
            name={name}
            file={file instanceof File ? file : null}
            onFile={next => set(name, next)}
          />
        ) : (
          <Field
            key={name}
            label={name}
            text={textOf(given, name)}
            lines={shape.length > 1 ? undefined : 3}
            wrong=""
            onText={next => set(name, next)}
          />
        );
      })}
    </div>
  );
}

/** The texts of the fields, each the one row of its input. */
function textsGiven(fields: readonly IInputField[], given: Given): Texts {
  return Object.fromEntries(
    fields
      .filter(field => field.kind === 'text')
      .map(({ spec }) => [spec.name, [textOf(given, spec.name)]])
  );
}

function onControlEnter(act: () => Promise<void>): (event: React.KeyboardEvent) => void {
  return event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void act();
    }
  };
}

/** Parses a whole number; undefined if the text is not one, or is out of range. */
function whole(text: string, low: number, high: number): number | undefined {
  const value = Number(text);
  const fits = /^\s*\d+\s*$/.test(text) && value >= low && value <= high;
  return fits ? value : undefined;
}
