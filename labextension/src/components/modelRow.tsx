import { caretDownIcon, caretRightIcon, ellipsesIcon, shareIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import { type IMark, marksOf } from '../modelList/modelMarks';
import type { IModelGroup } from '../service/groupByModel';
import { WINDOW_S } from '../service/model';
import type { Verb } from '../service/state';
import * as format from '../ui/format';
import { capitalized, MODEL_TONES, modelStateLabel, type Tone, versionText } from '../ui/labels';
import { Card } from './modelCard';
import { ERROR_S } from './modelFigures';
import { usePanel } from './panelContext';
import { IconButton, useLive, write } from './primitives';
import { type Draw, Sparkline } from './sparkline';

export interface IRowProps {
  readonly group: IModelGroup;
  readonly isOpen: boolean;
  /** Whether the folded card stays in the page, since something in it is unfolded that may have been typed into. */
  readonly isKept: boolean;
  /** The one row that Tab reaches. */
  readonly isActive: boolean;
  /** Its place in the list, from 1, and how many there are. */
  readonly place: number;
  readonly count: number;
  /** Labels of the shares that may call it, separated by commas. */
  readonly shares: string;
  /** False while the service is away; a model listed as Ready is not ready then. */
  readonly serving: boolean;
  readonly busy: Verb | undefined;
  readonly trouble: string | undefined;
  readonly onToggle: (name: string) => void;
  readonly onFocus: (name: string) => void;
}

/** One model: its line, and below it its card if it is unfolded. */
export const ModelRow = React.memo(function ModelRow(props: IRowProps): JSX.Element {
  const { group, isOpen, isKept, serving, busy, trouble, onToggle, onFocus } = props;
  const { trans, openMenu } = usePanel();
  const { name, current, others } = group;
  const id = React.useId();
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  const tone = toneOf(props);
  return (
    <li
      className={`iw-Card${isOpen ? ' iw-mod-open' : ''}${serving ? '' : ' iw-mod-stale'}`}
      data-model={name}
      aria-label={name}
      aria-setsize={props.count}
      aria-posinset={props.place}
    >
      <div className="iw-Card-head">
        <h3 className="iw-Card-title">
          <button
            type="button"
            className="iw-ModelLine"
            aria-expanded={isOpen}
            aria-controls={isOpen ? id : undefined}
            tabIndex={props.isActive ? 0 : -1}
            onClick={() => onToggle(name)}
            onFocus={() => onFocus(name)}
            onContextMenu={event => {
              event.preventDefault();
              event.stopPropagation();
              openMenu(name, event.currentTarget);
            }}
          >
            <Caret.react tag="span" className="iw-ModelLine-caret" width="14px" height="14px" />
            <span className={`iw-ModelLine-state iw-mod-${tone}`}>
              <span className="iw-State-dot" aria-hidden="true" />
            </span>
            <span className="iw-Card-name" title={name}>
              {name}
            </span>
            {isOpen ? (
              <span className="iw-Card-version" title={trans.__('Version %1', current.version)}>
                {versionText(current)}
              </span>
            ) : (
              <Glance {...props} />
            )}
          </button>
        </h3>
        {isOpen && (
          <IconButton
            icon={ellipsesIcon}
            label={trans.__('What to do with %1', name)}
            hasMenu
            onClick={event => openMenu(name, event.currentTarget)}
          />
        )}
      </div>
      {(isOpen || isKept) && (
        <div id={id} className="iw-Card-body" hidden={!isOpen}>
          <Card current={current} others={others} serving={serving} busy={busy} trouble={trouble} />
        </div>
      )}
    </li>
  );
}, isSame);

/** Compares the members of `others`, since groups are made anew each time. */
function isSame(a: IRowProps, b: IRowProps): boolean {
  const { group: before, ...restBefore } = a;
  const { group: after, ...restAfter } = b;
  const keys = Object.keys(restAfter) as (keyof typeof restAfter)[];
  return (
    keys.every(key => restBefore[key] === restAfter[key]) &&
    before.current === after.current &&
    before.others.length === after.others.length &&
    before.others.every((other, i) => other === after.others[i])
  );
}

function toneOf({ group: { current }, serving, busy, trouble }: IRowProps): Tone {
  if (!serving) {
    return 'off';
  }
  if (trouble || (current.circuit && current.circuit.state !== 'closed')) {
    return 'bad';
  }
  return busy === 'unload' ? 'busy' : MODEL_TONES[current.state];
}

/** The rest of a folded line: marks, and the figures or why there are none. */
function Glance(props: IRowProps): JSX.Element {
  const { group, shares, serving, busy, trouble } = props;
  const { trans } = usePanel();
  const { name, current } = group;
  const { state } = current;
  const marks = React.useMemo(
    () => marksOf(trans, group, shares === '' ? [] : [shares]),
    [trans, group, shares]
  );
  const word = busy === 'unload' ? trans.__('Unloading…') : modelStateLabel(trans, state);
  const reason = trouble || current.reason;
  const hasFigures = state === 'Ready' && !trouble && busy !== 'unload';
  return (
    <>
      {marks.map(mark => (
        <Mark key={mark.kind} mark={mark} />
      ))}
      {hasFigures ? (
        <LineFigures name={name} />
      ) : (
        <span
          className={`iw-ModelLine-word${trouble || state === 'Failed' ? ' iw-mod-bad' : ''}`}
          title={reason}
        >
          {!serving
            ? trans.__('Waiting for the service')
            : reason
              ? trans.__('%1: %2', word, reason)
              : word}
        </span>
      )}
    </>
  );
}

function Mark({ mark: { kind, text, hint } }: { mark: IMark }): JSX.Element {
  return (
    <span className="iw-Mark" data-mark={kind} title={hint}>
      {kind === 'share' ? (
        <shareIcon.react tag="span" className="iw-Mark-icon" width="12px" height="12px" />
      ) : (
        <span aria-hidden="true">{text}</span>
      )}
      <span className="iw-Hidden">{hint}</span>
    </span>
  );
}

/** A mark where there were errors lately, a small plot, requests per second, and p99. */
function LineFigures({ name }: { name: string }): JSX.Element {
  const { model, trans, sparkline } = usePanel();
  const root = React.useRef<HTMLSpanElement>(null);
  const alert = React.useRef<HTMLSpanElement>(null);
  const rate = React.useRef<HTMLSpanElement>(null);
  const p99 = React.useRef<HTMLSpanElement>(null);
  const picture = React.useRef<Draw | null>(null);
  const drawnAt = React.useRef(-1);
  const draw = React.useCallback(() => {
    const figures = model.figures(name);
    write(rate.current, format.rate(figures?.requests_per_s));
    write(p99.current, format.duration(figures?.p99_s));
    root.current?.classList.toggle('iw-mod-idle', !figures || figures.requests_per_s === 0);
    const error = model.lastError(name);
    const isTold = error !== null && model.time - error.time < ERROR_S;
    if (alert.current !== null && alert.current.hidden === isTold) {
      alert.current.hidden = !isTold;
    }
    if (alert.current && isTold) {
      const text = trans.__('%1: %2', format.clock(error.time), capitalized(error.message));
      if (alert.current.title !== text) {
        alert.current.title = text;
      }
    }
    // A row of the plot is a second.
    const now = Math.floor(model.time);
    if (now !== drawnAt.current) {
      drawnAt.current = now;
      picture.current?.(model.columns(name), sparkline, now, WINDOW_S);
    }
  }, [model, name, sparkline, trans]);
  useLive(root, draw);
  return (
    <span className="iw-ModelLine-figures" ref={root}>
      <span className="iw-Mark iw-mod-bad" data-mark="alert" ref={alert} hidden>
        <span aria-hidden="true">!</span>
        <span className="iw-Hidden">{trans.__('There were errors lately.')}</span>
      </span>
      <span className="iw-ModelLine-picture" aria-hidden="true">
        <Sparkline label="" drawRef={picture} />
      </span>
      <span className="iw-ModelLine-rate" ref={rate} data-figure="requests_per_s" />
      <span className="iw-Hidden">{trans.__('req/s')}, p99</span>
      <span className="iw-ModelLine-p99" ref={p99} data-figure="p99_s" />
    </span>
  );
}
