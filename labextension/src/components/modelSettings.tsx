import * as React from 'react';
import {
  changes,
  defaults,
  type IModelSetting,
  MODEL_SETTINGS,
  settingLabel,
  currentValue,
  formatValue,
  type Typed
} from '../forms/modelSettingsForm';
import type { IModelStatus } from '../service/wire';
import { capitalized } from '../ui/labels';
import * as format from '../ui/format';
import { Button, ErrorMessage } from './primitives';
import { usePanel } from './panelContext';

const NONE: Typed = new Map();

interface IFieldsProps {
  readonly typed: Typed;
  readonly onTyped: (typed: Typed) => void;
  /** The current values. */
  readonly now: Readonly<Record<string, unknown>>;
  readonly wrong: ReadonlyMap<string, string>;
}

/** One field per setting; rarely used ones are shown on demand. */
export function SettingFields({ typed, onTyped, now, wrong }: IFieldsProps): JSX.Element {
  const { trans } = usePanel();
  const [all, setAll] = React.useState(false);
  // A changed setting stays visible.
  const some = MODEL_SETTINGS.filter(({ name, seldom }) => all || !seldom || typed.has(name));
  return (
    <>
      <div className="iw-Fields">
        {some.map(setting => (
          <SettingField
            key={setting.name}
            setting={setting}
            text={typed.get(setting.name) ?? formatValue(setting, currentValue(setting, now))}
            changed={typed.has(setting.name)}
            wrong={wrong.get(setting.name)}
            onText={text => {
              const next = new Map(typed);
              if (text === formatValue(setting, currentValue(setting, now))) {
                next.delete(setting.name);
              } else {
                next.set(setting.name, text);
              }
              onTyped(next);
            }}
          />
        ))}
      </div>
      <button type="button" className="iw-Link" aria-expanded={all} onClick={() => setAll(!all)}>
        {all ? trans.__('Fewer settings') : trans.__('All settings')}
      </button>
    </>
  );
}

interface ISettingFieldProps {
  readonly setting: IModelSetting;
  readonly text: string;
  readonly changed: boolean;
  readonly wrong: string | undefined;
  readonly onText: (text: string) => void;
}

function SettingField({ setting, text, changed, wrong, onText }: ISettingFieldProps): JSX.Element {
  const { trans } = usePanel();
  const id = React.useId();
  const { label, help } = settingLabel(trans, setting.name);
  const common = {
    id,
    className: 'jp-mod-styled',
    value: text,
    'data-setting': setting.name,
    'aria-describedby': `${id}-help`,
    'aria-invalid': wrong !== undefined
  };
  return (
    <div className={changed ? 'iw-Field iw-mod-changed' : 'iw-SettingField'} title={help}>
      <label htmlFor={id}>{setting.unit ? `${label}, ${setting.unit}` : label}</label>
      {setting.kind === 'choice' ? (
        <select {...common} onChange={event => onText(event.target.value)}>
          {setting.choices?.map(choice => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...common}
          inputMode={setting.kind === 'count' || setting.kind === 'number' ? 'decimal' : 'text'}
          placeholder={
            setting.kind === 'sizes' ? trans.__('any') : formatValue(setting, setting.default)
          }
          spellCheck={false}
          autoComplete="off"
          onChange={event => onText(event.target.value)}
        />
      )}
      <p id={`${id}-help`} className={wrong ? 'iw-Text iw-mod-bad' : 'iw-Hidden'}>
        {wrong ?? help}
      </p>
    </div>
  );
}

interface IProps {
  readonly status: IModelStatus;
  /** False while changes are impossible. */
  readonly able: boolean;
}

/** The form with one model's current settings, which can be changed while it serves. */
export function SettingsForm({ status, able }: IProps): JSX.Element {
  const { model, trans } = usePanel();
  const { name, config } = status;
  const [typed, setTyped] = React.useState(NONE);
  const [busy, setBusy] = React.useState(false);
  const [said, setSaid] = React.useState<{ readonly bad: boolean; readonly text: string } | null>(
    null
  );
  const { settings, wrong, reloads } = changes(trans, typed, config);
  const some = Object.keys(settings).length > 0;
  const resettable = defaults(config);

  const type = (next: Typed) => {
    setTyped(next);
    setSaid(null);
  };

  const apply = async (event: React.FormEvent) => {
    event.preventDefault();
    if (!some || wrong.size > 0 || busy || !able) {
      return;
    }
    setBusy(true);
    setSaid(null);
    try {
      const done = await model.set(name, settings);
      setTyped(NONE);
      setSaid({
        bad: false,
        text:
          (done.live ?? !reloads)
            ? trans.__('Applied while it served: nothing was reloaded.')
            : trans.__(
                'Applied: %1 was loaded anew in %2. No request failed.',
                name,
                format.duration(done.seconds)
              )
      });
    } catch (error) {
      setSaid({ bad: true, text: capitalized((error as Error).message) });
    } finally {
      setBusy(false);
    }
  };

  return (
    <form
      className="iw-Part"
      aria-label={trans.__('Settings of %1', name)}
      onSubmit={event => void apply(event)}
    >
      <SettingFields typed={typed} onTyped={type} now={config} wrong={wrong} />
      <div className="iw-Row">
        <Button
          label={busy ? trans.__('Applying…') : trans.__('Apply')}
          submit
          primary
          disabled={!some || wrong.size > 0 || busy || !able}
        />
        <Button
          label={trans.__('Undo')}
          title={trans.__('Discard the changes that are not applied')}
          disabled={typed.size === 0 || busy}
          onClick={() => type(NONE)}
        />
        <Button
          label={trans.__('Defaults')}
          title={trans.__('Fill in the default of every setting; Apply then sets them')}
          disabled={resettable.size === 0 || busy}
          onClick={() => type(resettable)}
        />
      </div>
      {some && reloads && !said && (
        <p className="iw-Text iw-mod-quiet">
          {trans.__('For this the model is loaded anew beside the present one; no request fails.')}
        </p>
      )}
      <div role="status">
        {said && !said.bad && <p className="iw-Text iw-mod-quiet">{said.text}</p>}
      </div>
      <ErrorMessage text={said?.bad ? said.text : ''} onDismiss={() => setSaid(null)} />
      {(status.batching || status.execution) && (
        <p className="iw-Text iw-mod-quiet">
          {[status.execution, status.batching].filter(Boolean).map(capitalized).join(' · ')}
        </p>
      )}
    </form>
  );
}
