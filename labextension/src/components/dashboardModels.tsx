import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import { FILTER_FROM, filtered } from '../modelList/modelSearch';

interface IModelsProps {
  readonly trans: TranslationBundle;
  readonly names: readonly string[];
  /** The models that are drawn. */
  readonly shown: readonly string[];
  readonly onToggle: (name: string) => void;
}

/** A button for each model. With many of them there is a box that filters all but those that are drawn. */
export function DashboardModels({ trans, names, shown, onToggle }: IModelsProps): JSX.Element {
  const [text, setText] = React.useState('');
  const hasFilter = names.length >= FILTER_FROM;
  const found = new Set(filtered(names, hasFilter ? text : ''));
  // With many models, those that are drawn come first: there they are in sight however few rows there are.
  const listed = hasFilter
    ? [...shown, ...names.filter(name => found.has(name) && !shown.includes(name))]
    : names;
  return (
    <div className="iw-Dashboard-choice">
      {hasFilter && (
        <input
          type="search"
          className="iw-Dashboard-filter"
          aria-label={trans.__('Filter models')}
          placeholder={trans.__('Filter %1 models', names.length)}
          value={text}
          onChange={({ target: { value } }) => setText(value)}
        />
      )}
      <div className="iw-Dashboard-models" role="group" aria-label={trans.__('Models')}>
        {listed.map(name => (
          <button
            key={name}
            type="button"
            title={name}
            aria-pressed={shown.includes(name)}
            onClick={() => onToggle(name)}
          >
            {name}
          </button>
        ))}
        {found.size === 0 && (
          <span className="iw-mod-quiet" role="status">
            {trans.__('No model has all of these words in its name.')}
          </span>
        )}
      </div>
    </div>
  );
}
