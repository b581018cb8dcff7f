import { Clipboard } from '@jupyterlab/apputils';
import { copyIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import { json, kind, table } from '../forms/tryoutForm';
import type { ITensor } from '../service/wire';
import { IconButton } from './primitives';
import { usePanel } from './panelContext';

/** One tensor: a small table if it has at most two axes, else or on demand JSON. */
export function Tensor({ tensor }: { tensor: ITensor }): JSX.Element {
  const { trans } = usePanel();
  const id = React.useId();
  const small = React.useMemo(() => table(tensor), [tensor]);
  const [raw, setRaw] = React.useState(small === null);
  const text = React.useMemo(() => json(tensor.data), [tensor]);
  const { name, data, cut } = tensor;
  return (
    <div className="iw-Tensor" data-tensor={name}>
      <div className="iw-Tensor-head">
        <span id={id}>
          <code>{name}</code> <span className="iw-mod-quiet">{kind(tensor)}</span>
        </span>
        {small && (
          <button type="button" className="iw-Link" aria-pressed={raw} onClick={() => setRaw(!raw)}>
            {trans.__('JSON')}
          </button>
        )}
        <IconButton
          icon={copyIcon}
          label={trans.__('Copy %1 as JSON', name)}
          onClick={() => Clipboard.copyToSystem(JSON.stringify(data))}
        />
      </div>
      {small && !raw ? (
        <div className="iw-Scroll iw-Tensor-scroll" tabIndex={0} role="group" aria-labelledby={id}>
          <table>
            {small.columns.length > 0 && (
              <thead>
                <tr>
                  <td />
                  {small.columns.map(column => (
                    <th key={column} scope="col">
                      {column}
                    </th>
                  ))}
                </tr>
              </thead>
            )}
            <tbody>
              {small.rows.map((row, i) => (
                <tr key={i}>
                  <th scope="row">{i}</th>
                  {row.map((value, j) => (
                    <td key={j}>{value}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <pre className="iw-Scroll iw-Tensor-scroll" tabIndex={0} role="group" aria-labelledby={id}>
          {text}
        </pre>
      )}
      {small && !raw && (small.moreRows > 0 || small.moreColumns > 0) && (
        <p className="iw-Text iw-mod-quiet">
          {[
            small.moreRows > 0 && trans._n('and %1 more row', 'and %1 more rows', small.moreRows),
            small.moreColumns > 0 &&
              trans._n('and %1 more column', 'and %1 more columns', small.moreColumns)
          ]
            .filter(Boolean)
            .join(', ')}
        </p>
      )}
      {cut && (
        <p className="iw-Text iw-mod-quiet">{trans.__('Shown in part: there is more of it.')}</p>
      )}
    </div>
  );
}
