import { folderIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import {
  type IDraft,
  isURL,
  nameOf,
  EMPTY_DRAFT,
  withName,
  withPath
} from '../forms/loadModelForm';
import { changes, type Typed } from '../forms/modelSettingsForm';
import { isModelName } from '../service/groupByModel';
import type { IAttempt, IView } from '../service/state';
import { refusal, unchangedText } from '../ui/labels';
import { mayReplace } from '../versions/replacing';
import { Button, IconButton, Message, CodeText } from './primitives';
import { Progress, Collapsible } from './collapsible';
import { useCollapse, usePanel } from './panelContext';
import { Stored } from './storedModels';

/** Loaded when the options are first expanded, so that the panel appears sooner. */
const SettingFields = React.lazy(async () => ({
  default: (await import('./modelSettings')).SettingFields
}));

interface IFormProps {
  readonly view: IView;
  readonly draft: IDraft;
  readonly onDraft: React.Dispatch<React.SetStateAction<IDraft>>;
  /** Present if the form can be closed. */
  readonly onClose?: (() => void) | undefined;
}

const NONE: Typed = new Map();

/** The form that loads a model: a path, a name and options. */
export function LoadForm({ view, draft, onDraft, onClose }: IFormProps): JSX.Element {
  const { model, trans, browse } = usePanel();
  const pathField = React.useRef<HTMLInputElement>(null);
  const id = React.useId();
  /** The result of the last load, if nothing else shows it. */
  const [said, setSaid] = React.useState('');
  const { path } = draft;
  const name = nameOf(draft);
  const badPath = isURL(path);
  const badName = name !== '' && !isModelName(name);
  const replaces = view.models.some(status => status.name === name && status.routed);
  const loading = view.attempts.some(({ request, trouble }) => request.name === name && !trouble);
  const [optionsOpen, setOptionsOpen] = useCollapse('options', false);
  // Only visible options are sent.
  const { settings, wrong: misfits } = changes(trans, optionsOpen ? draft.options : NONE, {});
  const ready =
    misfits.size === 0 && path.trim() !== '' && !badPath && name !== '' && !badName && !loading;

  const wrong = badPath
    ? trans.__(
        'This is a URL. A model is loaded from a file: download it first, then give its path.'
      )
    : badName
      ? trans.__(
          'A name has letters (a to z), digits, “_”, “-” and single “.”, 128 at most, and does not begin with “-” or “.”.'
        )
      : '';
  const hint = replaces
    ? trans.__('%1 is being served: this becomes its next version.', name)
    : path === ''
      ? said
      : '';

  const options = Object.keys(settings).length > 0 ? { config: settings } : {};

  const load = async (event: React.FormEvent) => {
    event.preventDefault();
    if (!ready) {
      return;
    }
    setSaid('');
    if (replaces && !(await mayReplace(model, trans, name))) {
      return;
    }
    if (draft.refused !== null && draft.refused !== name) {
      model.dismiss(draft.refused);
    }
    try {
      const { unchanged } = await model.load({ name, path: path.trim(), ...options });
      setSaid(unchanged ? unchangedText(trans, name) : '');
      onDraft(EMPTY_DRAFT);
    } catch {
      // The error is shown below, and the typed values are kept.
      onDraft(typed => ({ ...typed, refused: name }));
      pathField.current?.focus();
    }
  };

  const choose = async () => {
    const chosen = await browse?.();
    if (chosen) {
      onDraft(typed => withPath(typed, chosen));
      pathField.current?.focus();
    }
  };

  return (
    <form
      className="iw-Load"
      aria-label={trans.__('Load a model')}
      onSubmit={event => void load(event)}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          onClose?.();
        }
      }}
    >
      <label htmlFor={`${id}-path`}>{trans.__('ONNX file')}</label>
      <div className="iw-Load-path">
        <input
          ref={pathField}
          id={`${id}-path`}
          className="jp-mod-styled"
          value={path}
          placeholder="models/digits.onnx"
          spellCheck={false}
          autoComplete="off"
          autoFocus={onClose !== undefined}
          aria-invalid={badPath}
          aria-describedby={`${id}-hint`}
          onChange={event => onDraft(withPath(draft, event.target.value))}
        />
        {browse && (
          <IconButton icon={folderIcon} label={trans.__('Browse…')} onClick={() => void choose()} />
        )}
      </div>
      <label htmlFor={`${id}-name`}>{trans.__('Name')}</label>
      <div className="iw-Load-name">
        <input
          id={`${id}-name`}
          className="jp-mod-styled"
          value={name}
          placeholder="digits"
          spellCheck={false}
          autoComplete="off"
          aria-invalid={badName}
          aria-describedby={`${id}-hint`}
          onChange={event => onDraft(withName(draft, event.target.value))}
        />
        <Button label={trans.__('Load')} submit primary disabled={!ready} />
      </div>
      <div>
        <Collapsible label={trans.__('Options')} open={optionsOpen} onOpen={setOptionsOpen}>
          <div className="iw-Part">
            <React.Suspense fallback={null}>
              <SettingFields
                typed={draft.options}
                onTyped={typed => onDraft({ ...draft, options: typed })}
                now={{}}
                wrong={misfits}
              />
            </React.Suspense>
          </div>
        </Collapsible>
      </div>
      <p id={`${id}-hint`} className={`iw-Text ${wrong ? 'iw-mod-bad' : 'iw-mod-quiet'}`}>
        {wrong || hint}
      </p>
      <Stored view={view} options={options} able={misfits.size === 0} />
    </form>
  );
}

interface IAttemptProps {
  readonly attempt: IAttempt;
  /** A load that was refused before has succeeded. */
  readonly onLoaded: () => void;
}

/** A load that is in progress or was refused, from any part of the page. */
export function Attempt({ attempt, onLoaded }: IAttemptProps): JSX.Element {
  const { model, trans } = usePanel();
  const { request, trouble, forceable } = attempt;
  const from = request.path || trans.__('the service’s repository');
  const again = (force: boolean) =>
    void model.load({ ...request, force }).then(onLoaded, () => undefined /* shown here again */);
  if (!trouble) {
    return (
      <div className="iw-Attempt" role="status">
        <p className="iw-Text">{trans.__('Loading %1 from %2…', request.name, from)}</p>
        <Progress />
      </div>
    );
  }
  return (
    <Message tone="bad" onDismiss={() => model.dismiss(request.name)}>
      <strong>{trans.__('%1 was not loaded from %2.', request.name, from)}</strong>{' '}
      <CodeText text={refusal(attempt)} />
      <div className="iw-Row">
        <Button label={trans.__('Try again')} onClick={() => again(request.force ?? false)} />
        {forceable && (
          <Button
            label={trans.__('Load all the same')}
            title={trans.__('Callers that rely on its inputs or outputs will get errors')}
            onClick={() => again(true)}
          />
        )}
      </div>
    </Message>
  );
}
