import * as format from '../ui/format';
import type { ISlow, ISpan, ITrans } from './contract';
import { element } from './dom';
import { palette } from './palette';
import { mates, steps } from './waterfall';
import { reasonText } from './plotLabels';

/** The number of requests that are listed. */
const SHOWN = 10;

/** Further batch mates are shown as a number. */
const BLOCKS = 24;

export interface ISlowestOptions {
  readonly trans: ITrans;
  readonly model: string;
  readonly ask: (span: ISpan) => Promise<readonly ISlow[]>;
  readonly onClose: () => void;
  /** True where the list has a place that is always in view, so that nothing has to scroll. */
  readonly isDocked?: boolean;
}

/** A list of the slowest requests of a time span; each can be expanded to its details. */
export class Slowest {
  readonly node: HTMLElement;

  constructor(private readonly _options: ISlowestOptions) {
    const { trans, onClose } = _options;
    const close = element(
      'button',
      { type: 'button', class: 'iw-Slow-close', 'aria-label': trans.__('Close the list') },
      '×'
    );
    close.addEventListener('click', () => {
      this.hide();
      onClose();
    });
    this.node = element(
      'section',
      { class: 'iw-Slow', 'aria-label': trans.__('Slowest requests'), hidden: '' },
      element('header', {}, this._title, close),
      this._body
    );
  }

  hide(): void {
    this._asked += 1;
    this.node.hidden = true;
  }

  /** Fetches and lists the slowest requests of a span. */
  async show(span: ISpan): Promise<void> {
    const { trans, model } = this._options;
    const asked = ++this._asked;
    this.node.hidden = false;
    this._title.textContent = trans.__(
      'Slowest of %1, %2 to %3',
      model,
      format.clock(span.since, 'seconds'),
      format.clock(span.until, 'seconds')
    );
    this._say(trans.__('Looking…'));
    this._bringIntoView();
    let found: readonly ISlow[];
    try {
      found = await this._options.ask(span);
    } catch (error) {
      if (asked === this._asked) {
        this._say(
          trans.__(
            'They could not be read: %1',
            error instanceof Error ? error.message : String(error)
          )
        );
      }
      return;
    }
    if (asked !== this._asked) {
      return;
    }
    if (found.length === 0) {
      this._say(trans.__('No request is known to have ended in this moment.'));
      return;
    }
    this._list([...found].sort((a, b) => b.duration_s - a.duration_s).slice(0, SHOWN));
    this._bringIntoView();
  }

  private _bringIntoView(): void {
    if (!this._options.isDocked) {
      this.node.scrollIntoView({ block: 'nearest' });
    }
  }

  private _say(words: string): void {
    this._body.replaceChildren(element('p', { class: 'iw-Slow-said', role: 'status' }, words));
  }

  private _list(requests: readonly ISlow[]): void {
    const longest = requests[0]?.duration_s ?? 1;
    const items = requests.map((request, i) => {
      const item = element('details', { class: 'iw-Slow-item' }, this._summary(request, longest));
      let isMade = false;
      item.addEventListener('toggle', () => {
        if (item.open && !isMade) {
          isMade = true;
          item.append(this._story(request));
        }
      });
      item.open = i === 0;
      return element('li', {}, item);
    });
    this._body.replaceChildren(element('ol', {}, ...items));
  }

  /** One line: time, duration, and a bar of the stages on a common scale. */
  private _summary(request: ISlow, longest: number): HTMLElement {
    const { trans } = this._options;
    const { ink } = palette(this.node);
    const bar = element('span', { class: 'iw-Slow-bar', 'aria-hidden': 'true' });
    bar.style.width = percent(request.duration_s / longest);
    for (const { stage, seconds } of steps(request)) {
      const part = element('i');
      part.style.width = percent(seconds / request.duration_s);
      part.style.background = ink(stage);
      bar.append(part);
    }
    const failed = request.outcome !== 'ok';
    return element(
      'summary',
      {},
      element('span', { class: 'iw-Slow-duration' }, format.duration(request.duration_s)),
      element('span', { class: 'iw-Slow-track' }, bar),
      ...(failed ? [element('span', { class: 'iw-Slow-outcome' }, request.outcome)] : []),
      element(
        'span',
        { class: 'iw-Slow-time', title: trans.__('When it ended') },
        format.clock(request.time, 'milliseconds')
      )
    );
  }

  /** The stages, the batch, and the ids of one request. */
  private _story(request: ISlow): HTMLElement {
    const { trans } = this._options;
    return element(
      'div',
      { class: 'iw-Slow-story' },
      this._waterfall(request),
      ...this._company(request),
      facts([
        [trans.__('Request id'), request.request_id],
        [trans.__('Id in the body'), request.id],
        [trans.__('Trace'), request.trace_id],
        [trans.__('Version'), request.version],
        [trans.__('Outcome'), request.outcome],
        [
          trans.__('Bytes'),
          request.request_bytes === null
            ? null
            : trans.__(
                '%1 in, %2 out',
                format.bytes(request.request_bytes),
                format.bytes(request.response_bytes)
              )
        ]
      ])
    );
  }

  private _waterfall(request: ISlow): HTMLElement {
    const { trans } = this._options;
    const { ink } = palette(this.node);
    const rows = steps(request).map(({ stage, begin_s, seconds }) => {
      const bar = element('i', { 'aria-hidden': 'true' });
      bar.style.marginLeft = percent(Math.min(begin_s / request.duration_s, 0.995));
      bar.style.width = percent(Math.min(seconds / request.duration_s, 1));
      bar.style.background = ink(stage);
      return element(
        'tr',
        {},
        element('th', { scope: 'row' }, stage === 'other' ? trans.__('in between') : stage),
        element('td', { class: 'iw-Slow-lane' }, bar),
        element('td', { class: 'iw-Slow-seconds' }, format.duration(seconds))
      );
    });
    return element('table', { class: 'iw-Slow-waterfall' }, element('tbody', {}, ...rows));
  }

  private _company(request: ISlow): readonly HTMLElement[] {
    const { trans } = this._options;
    const { batch_size, release_reason, rows } = request;
    if (batch_size === null) {
      return [element('p', {}, trans.__('It never came into a batch.'))];
    }
    const others = mates(request);
    const why = release_reason ? reasonText(trans, release_reason) : '';
    const sentence =
      others.length === 0
        ? trans._n('Alone in a batch of %1 row.', 'Alone in a batch of %1 rows.', batch_size)
        : trans._n(
            'In a batch of %2 rows with %1 other request.',
            'In a batch of %2 rows with %1 others.',
            others.length,
            batch_size
          );
    const { ink } = palette(this.node);
    const block = (size: number, isOwn: boolean) => {
      const made = element(
        'i',
        { class: isOwn ? 'iw-mod-own' : undefined, title: trans._n('%1 row', '%1 rows', size) },
        String(size)
      );
      made.style.flexGrow = String(size);
      if (isOwn) {
        made.style.borderColor = ink('compute');
      }
      return made;
    };
    const blocks = element(
      'div',
      { class: 'iw-Slow-batch', role: 'img', 'aria-label': sentence },
      block(rows ?? batch_size, true),
      ...others.slice(0, BLOCKS).map(size => block(size, false)),
      ...(others.length > BLOCKS ? [element('i', {}, `+${others.length - BLOCKS}`)] : [])
    );
    return [
      element(
        'p',
        {},
        why ? `${sentence} ${trans.__('It was released because %1.', why)}` : sentence
      ),
      ...(others.length > 0 ? [blocks] : [])
    ];
  }

  private readonly _title = element('h3', { class: 'iw-Slow-title' });
  private readonly _body = element('div', { class: 'iw-Slow-body' });
  /** Counts the fetches; only the answer to the last one is used. */
  private _asked = 0;
}

function facts(all: readonly (readonly [name: string, value: string | null])[]): HTMLElement {
  const known = all.filter(([, value]) => value !== null && value !== '');
  return element(
    'dl',
    { class: 'iw-Slow-facts' },
    ...known.flatMap(([name, value]) => [
      element('dt', {}, name),
      element('dd', {}, value as string)
    ])
  );
}

function percent(part: number): string {
  return `${Math.max(0, Math.min(100, part * 100)).toFixed(2)}%`;
}
