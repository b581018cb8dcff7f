import * as React from 'react';
import { segments } from '../modelList/listWindow';
import { sharesByModel } from '../modelList/modelMarks';
import {
  FILTER_FROM,
  filtered,
  foundByTyping,
  movedTo,
  NOTHING_TYPED,
  typedWith
} from '../modelList/modelSearch';
import { unfoldedByDefault } from '../modelList/unfolded';
import type { IModelGroup } from '../service/groupByModel';
import { isSettled, type IView } from '../service/state';
import { useIsInView } from './logTail';
import { ModelRow } from './modelRow';
import { useCollapse, usePanel } from './panelContext';
import { useListWindow } from './useListWindow';
import { useModelOrder } from './useModelOrder';
import { useSignal } from './useSignal';

/** How often the list of shares is fetched for the marks, while the list is in view. */
const SHARES_MS = 30_000;

/** Figures that do not come are waited for this long before the list is shown without them. */
const FIGURES_MS = 300;

/** How many rows Page Down moves. */
const PAGE = 10;

interface IProps {
  readonly groups: readonly IModelGroup[];
  readonly view: IView;
}

/** The models: a line each, unfolded to a card. Only the rows in sight, and unfolded ones, are in the page. */
export function ModelList({ groups, view }: IProps): JSX.Element {
  const { model, trans, collapseState } = usePanel();
  const list = React.useRef<HTMLUListElement>(null);
  const [isByName, setByName] = useCollapse('models-by-name', false);
  const [text, setText] = React.useState('');
  const [active, setActive] = React.useState('');
  /** The row to move the focus to, or to scroll to, once it is in the page. */
  const [wanted, setWanted] = React.useState({ name: '', isFocused: false });
  const typed = React.useRef(NOTHING_TYPED);

  const isReady = useFirstFigures();
  const order = useModelOrder(list, groups, isByName, isReady);
  const hasFilter = order.length >= FILTER_FROM;
  const shown = React.useMemo(
    () => filtered(order, hasFilter ? text : ''),
    [order, text, hasFilter]
  );
  const byName = React.useMemo(() => new Map(groups.map(each => [each.name, each])), [groups]);
  const { first, last, line } = useListWindow(list, shown);
  const serving = view.service?.state === 'Ready';
  const shares = useShares(list, serving && view.link.kind === 'live');
  const { isOpen, isKept, open } = useFolds(order, isSettled(view));
  const reached = byName.has(active) && shown.includes(active) ? active : (shown[0] ?? '');

  const { toReveal } = view;
  const isThere = toReveal !== null && byName.has(toReveal);
  React.useEffect(() => {
    if (toReveal !== null && isThere) {
      collapseState.set(`model:${toReveal}`, true);
      setText(before => (filtered([toReveal], before).length > 0 ? before : ''));
      setActive(toReveal);
      setWanted({ name: toReveal, isFocused: false });
      model.revealed(toReveal);
    }
  }, [model, collapseState, toReveal, isThere]);
  React.useEffect(() => {
    const row = wanted.name && rowOf(list.current, wanted.name);
    if (row) {
      if (wanted.isFocused) {
        row.querySelector<HTMLElement>('.iw-ModelLine')?.focus({ preventScroll: true });
      }
      row.scrollIntoView({ block: 'nearest' });
    }
  }, [wanted]);

  const focus = (name: string | undefined) => {
    if (name !== undefined) {
      setActive(name);
      setWanted({ name, isFocused: true });
    }
  };
  const toggle = React.useCallback((name: string) => open(name, null), [open]);

  const onKeyDown = (event: React.KeyboardEvent) => {
    const isOnLine = (event.target as Element).classList.contains('iw-ModelLine');
    if (!isOnLine || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const { key } = event;
    const at = shown.indexOf(reached);
    const row = movedTo(key, at, shown.length, PAGE);
    const next = row === null ? typedWith(typed.current, key, event.timeStamp) : null;
    if (row !== null) {
      focus(shown[row]);
    } else if (key === 'ArrowRight' || key === 'ArrowLeft') {
      open(reached, key === 'ArrowRight');
    } else if (next !== null) {
      typed.current = next;
      focus(foundByTyping(shown, at, next.text) ?? undefined);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const pinned = (row: number) => {
    const name = shown[row] as string;
    return isOpen(name) || isKept(name) || name === reached;
  };
  return (
    <>
      {hasFilter && (
        <div className="iw-ModelList-bar">
          <input
            type="search"
            className="jp-mod-styled"
            aria-label={trans.__('Filter models')}
            placeholder={trans.__('Filter %1 models', order.length)}
            value={text}
            spellCheck={false}
            autoComplete="off"
            onChange={event => setText(event.target.value)}
            onKeyDown={event => {
              if (event.key === 'Escape' && text !== '') {
                event.stopPropagation();
                setText('');
              } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
                event.preventDefault();
                focus(shown[0]);
              }
            }}
          />
          <select
            className="iw-ModelList-order"
            aria-label={trans.__('Order of the models')}
            value={isByName ? 'name' : 'busy'}
            onChange={event => setByName(event.target.value === 'name')}
          >
            <option value="busy">{trans.__('Busy first')}</option>
            <option value="name">{trans.__('By name')}</option>
          </select>
        </div>
      )}
      {shown.some(name => !isOpen(name)) && (
        <div className="iw-ModelList-head">
          <span className="iw-ModelList-found" role="status">
            {shown.length < order.length && trans.__('%1 of %2', shown.length, order.length)}
          </span>
          <span className="iw-ModelLine-rate" title={trans.__('Requests that ended, a second')}>
            {trans.__('req/s')}
          </span>
          <span className="iw-ModelLine-p99" title={trans.__('99 of 100 requests took no longer')}>
            {trans.__('p99')}
          </span>
        </div>
      )}
      {shown.length === 0 && (
        <p className="iw-Text iw-mod-quiet" role="status">
          {trans.__('No model is called so.')}{' '}
          <button type="button" className="iw-Link" onClick={() => setText('')}>
            {trans.__('Show all %1', order.length)}
          </button>
        </p>
      )}
      <ul
        ref={list}
        className={isReady ? 'iw-Cards' : 'iw-Cards iw-mod-waiting'}
        aria-label={trans.__('Models')}
        onKeyDown={onKeyDown}
      >
        {segments(shown.length, { first, last }, pinned).map(segment => {
          if ('gap' in segment) {
            const style = { height: segment.gap * line };
            return <li key={`gap before ${segment.before}`} aria-hidden="true" style={style} />;
          }
          const name = shown[segment.row] as string;
          return (
            <ModelRow
              key={name}
              group={byName.get(name) as IModelGroup}
              isOpen={isOpen(name)}
              isKept={isKept(name)}
              isActive={name === reached}
              place={segment.row + 1}
              count={shown.length}
              shares={shares.get(name)?.join(', ') ?? ''}
              serving={serving}
              busy={view.busy.get(name)}
              trouble={view.troubles.get(name)}
              onToggle={toggle}
              onFocus={setActive}
            />
          );
        })}
      </ul>
    </>
  );
}

interface IFolds {
  readonly isOpen: (name: string) => boolean;
  /** Whether the card stays in the page when it is folded: something in it is unfolded, and may have been typed into. */
  readonly isKept: (name: string) => boolean;
  /** Unfolds or folds a row; null: whichever it is not. */
  readonly open: (name: string, isOpen: boolean | null) => void;
}

function useFolds(names: readonly string[], isComplete: boolean): IFolds {
  const { collapseState } = usePanel();
  const [, draw] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    collapseState.changed.connect(draw);
    return () => void collapseState.changed.disconnect(draw);
  }, [collapseState]);
  const byDefault = React.useRef<ReadonlyMap<string, boolean>>(new Map());
  if (isComplete) {
    byDefault.current = unfoldedByDefault(byDefault.current, names);
  }
  const isOpen = React.useCallback(
    (name: string) => collapseState.get(`model:${name}`) ?? byDefault.current.get(name) ?? false,
    [collapseState]
  );
  const isKept = (name: string) =>
    ['try', 'settings'].some(part => collapseState.get(`${part}:${name}`) === true);
  const open = React.useCallback(
    (name: string, next: boolean | null) =>
      collapseState.set(`model:${name}`, next ?? !isOpen(name)),
    [collapseState, isOpen]
  );
  return { isOpen, isKept, open };
}

/** False until the first figures came, since they decide the order, and for 300 ms at most. */
function useFirstFigures(): boolean {
  const { model } = usePanel();
  const [isWaiting, setWaiting] = React.useState(true);
  const hasFigures = useSignal(model.figuresChanged, () => model.time > 0);
  React.useEffect(() => {
    const timer = setTimeout(() => setWaiting(false), FIGURES_MS);
    return () => clearTimeout(timer);
  }, []);
  return hasFigures || !isWaiting;
}

/** The labels of shares by model, fetched while the list is in view. */
function useShares(
  list: React.RefObject<HTMLElement>,
  serving: boolean
): ReadonlyMap<string, readonly string[]> {
  const { shares } = usePanel().model;
  const all = useSignal(shares.changed, () => shares.all);
  const isInView = useIsInView(list);
  React.useEffect(() => {
    if (!isInView || !serving) {
      return;
    }
    void shares.refresh();
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') {
        void shares.refresh();
      }
    }, SHARES_MS);
    return () => clearInterval(timer);
  }, [shares, isInView, serving]);
  return React.useMemo(() => sharesByModel(all), [all]);
}

function rowOf(list: Element | null, name: string): Element | null {
  return list?.querySelector(`[data-model="${CSS.escape(name)}"]`) ?? null;
}
