import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

interface IModelFieldProps {
  readonly trans: TranslationBundle;
  readonly names: readonly string[];
  readonly value: string;
  readonly onModel: (name: string) => void;
}

/** The field of a form in which a model is selected. */
export function ModelField({ trans, names, value, onModel }: IModelFieldProps): JSX.Element {
  const id = React.useId();
  return (
    <div className="iw-Field">
      <label htmlFor={id}>{trans.__('Model')}</label>
      <select
        id={id}
        className="jp-mod-styled"
        value={value}
        onChange={event => onModel(event.target.value)}
      >
        {names.map(each => (
          <option key={each}>{each}</option>
        ))}
      </select>
    </div>
  );
}
