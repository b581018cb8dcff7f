import { addIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import { EMPTY_DRAFT } from '../forms/loadModelForm';
import { groupByModel } from '../service/groupByModel';
import type { IView } from '../service/state';
import { IconButton, Section, CodeText } from './primitives';
import { ModelList } from './modelList';
import { useCollapse, usePanel } from './panelContext';
import { Attempt, LoadForm } from './loadModel';

/** The served models, and a form to load more. */
export function ModelsSection({ view }: { view: IView }): JSX.Element {
  const { trans } = usePanel();
  const [open, setOpen] = useCollapse('models');
  const [adding, setAdding] = React.useState(false);
  const [draft, setDraft] = React.useState(EMPTY_DRAFT);
  const all = React.useMemo(() => groupByModel(view.models), [view.models]);
  // A refused load already says why and what to do, so the failed model gets no card.
  const models = React.useMemo(() => {
    const refused = new Set(view.attempts.filter(a => a.trouble).map(a => a.request.name));
    return all.filter(({ name, current }) => current.state !== 'Failed' || !refused.has(name));
  }, [all, view.attempts]);
  const arriving = new Set(
    view.models.filter(({ state }) => state === 'Loading' || state === 'Warming').map(m => m.name)
  );
  // Once the service lists the model, its card says more.
  const attempts = view.attempts.filter(
    ({ request, trouble }) => trouble || !arriving.has(request.name)
  );
  const none = models.length === 0 && attempts.every(({ trouble }) => trouble);
  const state = view.service?.state;
  const waiting = state === undefined || state === 'Starting' || state === 'Restarting';
  const form = models.length > 0 ? adding : none && !waiting;
  const title = models.length > 0 ? trans.__('Models (%1)', models.length) : trans.__('Models');
  return (
    <Section
      name="models"
      title={title}
      actions={
        models.length > 0 && (
          <IconButton
            icon={addIcon}
            label={trans.__('Load a model')}
            expanded={adding && open}
            onClick={() => {
              setAdding(!adding || !open);
              setOpen(true);
            }}
          />
        )
      }
    >
      {none && waiting && (
        <p className="iw-Text iw-mod-quiet">{trans.__('Waiting for the service…')}</p>
      )}
      {none && !waiting && (
        <p className="iw-Text">
          <CodeText
            text={
              state === 'Ready'
                ? trans.__(
                    'No model is served yet. Load an .onnx file, or run `%infer load` in a notebook.'
                  )
                : trans.__(
                    'No model is served while the service does not run; any that it served before come back with it. Load an .onnx file, or run `%infer load` in a notebook.'
                  )
            }
          />
        </p>
      )}
      {form && (
        <LoadForm
          view={view}
          draft={draft}
          onDraft={setDraft}
          onClose={models.length > 0 ? () => setAdding(false) : undefined}
        />
      )}
      {attempts.map(attempt => (
        <Attempt
          key={attempt.request.name}
          attempt={attempt}
          onLoaded={() =>
            setDraft(typed => (typed.path.trim() === attempt.request.path ? EMPTY_DRAFT : typed))
          }
        />
      ))}
      {models.length > 0 && <ModelList groups={models} view={view} />}
    </Section>
  );
}
