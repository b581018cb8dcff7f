import { addIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import { served } from '../served';
import type { IView } from '../state';
import { IconButton, Section, Words } from './basics';
import { Card } from './card';
import { usePanel } from './context';
import { Attempt, LoadForm } from './load';

interface IProps {
  readonly view: IView;
  readonly open: boolean;
  readonly onToggle: () => void;
}

/** What is served, and loading more. */
export function ModelsSection({ view, open, onToggle }: IProps): JSX.Element {
  const { trans } = usePanel();
  const [adding, setAdding] = React.useState(false);
  const models = React.useMemo(() => served(view.models), [view.models]);
  const arriving = new Set(
    view.models.filter(({ state }) => state === 'Loading' || state === 'Warming').map(m => m.name)
  );
  // Once the service tells of it, its card says more than we could.
  const attempts = view.attempts.filter(
    ({ request, trouble }) => trouble || !arriving.has(request.name)
  );
  const none = models.length === 0 && attempts.every(({ trouble }) => trouble);
  const state = view.service?.state;
  const returning = state === 'Starting' || state === 'Restarting';
  const form = models.length > 0 ? adding : !returning;
  const title = models.length > 0 ? trans.__('Models (%1)', models.length) : trans.__('Models');
  return (
    <Section
      title={title}
      open={open}
      onToggle={onToggle}
      actions={
        models.length > 0 && (
          <IconButton
            icon={addIcon}
            label={trans.__('Load a model')}
            expanded={adding && open}
            onClick={() => {
              setAdding(!adding || !open);
              if (!open) {
                onToggle();
              }
            }}
          />
        )
      }
    >
      {none && returning && (
        <p className="iw-Text iw-mod-quiet">{trans.__('The models come back with the service.')}</p>
      )}
      {none && !returning && (
        <p className="iw-Text">
          <Words
            text={trans.__(
              'No model is served yet. Load an .onnx file, or run `%infer load` in a notebook.'
            )}
          />
        </p>
      )}
      {form && (
        <LoadForm view={view} onClose={models.length > 0 ? () => setAdding(false) : undefined} />
      )}
      {attempts.map(attempt => (
        <Attempt key={attempt.request.name} attempt={attempt} />
      ))}
      <ul className="iw-Cards" aria-label={trans.__('Models')}>
        {models.map(({ name, current, others }) => (
          <Card
            key={name}
            current={current}
            others={others}
            busy={view.busy.get(name)}
            trouble={view.troubles.get(name)}
          />
        ))}
      </ul>
    </Section>
  );
}
