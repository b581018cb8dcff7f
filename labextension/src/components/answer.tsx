import * as React from 'react';
import type { IPiece, IScore, Reading } from '../forms/tryoutAnswer';
import { cell } from '../forms/tryoutForm';
import { visible } from '../service/visibleText';
import * as format from '../ui/format';
import { usePanel } from './panelContext';

/** An answer as what it is: scores as bars, a text with what was found in it, the first numbers of a vector. */
export function Answer({ reading }: { reading: Reading }): JSX.Element {
  const { trans } = usePanel();
  return (
    <div
      className="iw-Answer"
      role="group"
      aria-label={trans.__('Answer')}
      data-answer={reading.kind}
    >
      <Body reading={reading} />
    </div>
  );
}

function Body({ reading }: { reading: Reading }): JSX.Element {
  const { trans } = usePanel();
  switch (reading.kind) {
    case 'scores':
      return <Scores rows={reading.rows} more={reading.more} />;
    case 'entities':
      return (
        <>
          {reading.rows.map((pieces, row) => (
            <Marked
              key={row}
              pieces={pieces}
              none={trans.__('The model found nothing in this text.')}
            />
          ))}
        </>
      );
    case 'answers':
      return (
        <>
          {reading.rows.map(({ answer, pieces }, row) => (
            <React.Fragment key={row}>
              <p className="iw-Text">
                <strong>{visible(answer.label) || trans.__('No answer')}</strong>{' '}
                {format.share(answer.score, 1)}
              </p>
              <Marked
                pieces={pieces}
                none={trans.__('The model found no answer in the context.')}
              />
            </React.Fragment>
          ))}
        </>
      );
    case 'embeddings':
      return (
        <>
          {reading.rows.map(({ size, first }, row) => (
            <p className="iw-Text" key={row}>
              {trans._n('%1 number: ', '%1 numbers: ', size)}
              <code>
                {first.map(cell).join(', ')}
                {size > first.length ? ', …' : ''}
              </code>
            </p>
          ))}
        </>
      );
  }
}

/** The classes of one row, or the best one of each of several. */
function Scores(props: { rows: readonly (readonly IScore[])[]; more: number }): JSX.Element {
  const { trans } = usePanel();
  const { rows, more } = props;
  return (
    <>
      <ol className="iw-Scores">
        {rows.flatMap((scores, row) =>
          scores.map(({ label, score }) => (
            <li key={`${row} ${label}`}>
              <span className="iw-Scores-label" title={visible(label)}>
                {rows.length > 1 && (
                  <span className="iw-mod-quiet">{trans.__('Row %1: ', row)}</span>
                )}
                {visible(label)}
              </span>{' '}
              <span className="iw-Scores-bar" aria-hidden="true">
                <span style={{ width: `${100 * Math.min(1, score)}%` }} />
              </span>
              <span className="iw-Scores-value">{format.share(score, 1)}</span>
            </li>
          ))
        )}
      </ol>
      {rows.length === 1 && more > 0 && (
        <p className="iw-Text iw-mod-quiet">
          {trans._n('and %1 less likely class', 'and %1 less likely classes', more)}
        </p>
      )}
    </>
  );
}

/** A text, with what is marked in it. */
function Marked(props: { pieces: readonly IPiece[]; none: string }): JSX.Element {
  const { pieces, none } = props;
  return (
    <>
      <p className="iw-Marked">
        {pieces.map(({ text, mark }, i) =>
          mark === null ? (
            <React.Fragment key={i}>{visible(text)}</React.Fragment>
          ) : (
            <mark key={i} title={format.share(mark.score, 1)}>
              {visible(text)}
              {mark.label && <small> {visible(mark.label)}</small>}
            </mark>
          )
        )}
      </p>
      {pieces.every(({ mark }) => mark === null) && <p className="iw-Text iw-mod-quiet">{none}</p>}
    </>
  );
}
