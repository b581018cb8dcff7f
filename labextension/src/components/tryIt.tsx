import * as React from 'react';
import * as format from '../ui/format';
import { asTyped, kind, prefill, typedInputs } from '../forms/tryoutForm';
import type { IModelStatus, ITried } from '../service/wire';
import { capitalized } from '../ui/labels';
import { Button, Field, ErrorMessage } from './primitives';
import { usePanel } from './panelContext';
import { Tensor } from './tensor';
import { Timings } from './timings';

interface IProps {
  readonly status: IModelStatus;
  /** False while the model cannot be called. */
  readonly able: boolean;
}

/** Sends one request, with random or typed inputs, and shows the response. */
export function TryIt({ status, able }: IProps): JSX.Element {
  const { model, trans } = usePanel();
  const { name } = status;
  const inputs = React.useMemo(() => status.inputs ?? [], [status.inputs]);
  const id = React.useId();
  const [random, setRandom] = React.useState(true);
  const [rows, setRows] = React.useState('1');
  const [seed, setSeed] = React.useState('');
  /** Null until edited: the text then follows the signature. */
  const [text, setText] = React.useState<string | null>(null);
  const [busy, setBusy] = React.useState(false);
  const [trouble, setTrouble] = React.useState('');
  const [tried, setTried] = React.useState<ITried | null>(null);
  const typed = text ?? prefill(inputs);
  const batched = status.max_batch_size > 0 && inputs.every(({ shape }) => shape[0] === -1);
  const count = batched ? whole(rows, 1, status.max_batch_size) : 1;
  const from = seed.trim() === '' ? null : whole(seed, 0, 2 ** 32 - 1);
  const fits = random ? count !== undefined && from !== undefined : typed.trim() !== '';

  const send = async () => {
    if (!fits || busy || !able) {
      return;
    }
    setTrouble('');
    setBusy(true);
    try {
      const given = random ? null : typedInputs(trans, typed, inputs);
      setTried(
        await model.tryOut(name, {
          inputs: given,
          rows: count ?? 1,
          seed: random ? (from ?? null) : null
        })
      );
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
      <fieldset className="iw-Choice">
        <legend className="iw-Hidden">{trans.__('Input')}</legend>
        <label>
          <input
            type="radio"
            name={`${id}-input`}
            checked={random}
            onChange={() => setRandom(true)}
          />
          {trans.__('Random input')}
        </label>
        <label>
          <input
            type="radio"
            name={`${id}-input`}
            checked={!random}
            onChange={() => setRandom(false)}
          />
          {trans.__('JSON')}
        </label>
      </fieldset>
      <p className="iw-Text iw-mod-quiet">
        {inputs.map(spec => (
          <span key={spec.name} className="iw-Spec">
            <code>{spec.name}</code> {kind(spec)}
          </span>
        ))}
      </p>
      {random ? (
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
      ) : (
        <>
          <textarea
            className="iw-Json jp-mod-styled"
            aria-label={trans.__('Inputs as JSON')}
            value={typed}
            rows={Math.min(10, Math.max(4, typed.split('\n').length))}
            spellCheck={false}
            placeholder={`{"${inputs[0]?.name ?? 'x'}": [[…]]}`}
            onChange={event => setText(event.target.value)}
            onKeyDown={event => {
              if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
                event.preventDefault();
                void send();
              }
            }}
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
        {!random && text !== null && (
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
          <Timings timings={tried.timings} />
          {tried.outputs.map(tensor => (
            <Tensor key={tensor.name} tensor={tensor} />
          ))}
          <details className="iw-Details">
            <summary>{trans.__('What was sent')}</summary>
            {tried.inputs.map(tensor => (
              <Tensor key={tensor.name} tensor={tensor} />
            ))}
            {asTyped(tried.inputs) !== '' && (
              <Button
                label={trans.__('Change it')}
                title={trans.__('Take it over as JSON')}
                onClick={() => {
                  setText(asTyped(tried.inputs));
                  setRandom(false);
                }}
              />
            )}
          </details>
        </>
      )}
    </form>
  );
}

/** Parses a whole number; undefined if the text is not one, or is out of range. */
function whole(text: string, low: number, high: number): number | undefined {
  const value = Number(text);
  const fits = /^\s*\d+\s*$/.test(text) && value >= low && value <= high;
  return fits ? value : undefined;
}
