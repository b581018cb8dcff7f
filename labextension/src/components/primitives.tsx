import { caretDownIcon, caretRightIcon, closeIcon, type LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import type { Tone } from '../ui/labels';
import { useCollapse, usePanel } from './panelContext';

interface IIconButtonProps {
  readonly icon: LabIcon;
  /** Its name, to hover and to hear. */
  readonly label: string;
  readonly onClick: (event: React.MouseEvent<HTMLButtonElement>) => void;
  readonly disabled?: boolean;
  readonly hasMenu?: boolean;
  readonly expanded?: boolean;
}

export function IconButton(props: IIconButtonProps): JSX.Element {
  return (
    <button
      type="button"
      className="iw-IconButton"
      title={props.label}
      aria-label={props.label}
      aria-haspopup={props.hasMenu ? 'menu' : undefined}
      aria-expanded={props.expanded}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <props.icon.react tag="span" className="iw-IconButton-icon" width="16px" height="16px" />
    </button>
  );
}

interface IButtonProps {
  readonly label: string;
  /** Its name to hear, where the label alone does not tell it from others; begins with the label. */
  readonly name?: string;
  readonly onClick?: () => void;
  readonly disabled?: boolean;
  /** The one thing to do here. */
  readonly primary?: boolean;
  readonly submit?: boolean;
  readonly title?: string | undefined;
}

export function Button(props: IButtonProps): JSX.Element {
  return (
    <button
      type={props.submit ? 'submit' : 'button'}
      className={`iw-Button jp-mod-styled ${props.primary ? 'jp-mod-accept' : 'jp-mod-reject'}`}
      disabled={props.disabled}
      title={props.title}
      aria-label={props.name}
      onClick={props.onClick}
    >
      {props.label}
    </button>
  );
}

/** A sentence, in which what stands between backticks is code. */
export function CodeText({ text }: { text: string }): JSX.Element {
  return (
    <>{text.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>
  );
}

/** A state: a coloured dot, and always its word. */
export function State({ tone, word }: { tone: Tone; word: string }): JSX.Element {
  return (
    <span className={`iw-State iw-mod-${tone}`}>
      <span className="iw-State-dot" aria-hidden="true" />
      {word}
    </span>
  );
}

interface IMessageProps {
  readonly tone: 'bad' | 'warn' | 'info';
  readonly onDismiss?: (() => void) | undefined;
  readonly children: React.ReactNode;
}

/** Something to be read where it happened. Errors are announced. */
export function Message({ tone, onDismiss, children }: IMessageProps): JSX.Element {
  const { trans } = usePanel();
  return (
    <div className={`iw-Message iw-mod-${tone}`} role={tone === 'bad' ? 'alert' : undefined}>
      <div className="iw-Message-text">{children}</div>
      {onDismiss && <IconButton icon={closeIcon} label={trans.__('Dismiss')} onClick={onDismiss} />}
    </div>
  );
}

/** What went wrong, where it was asked for; nothing where nothing did. */
export function Trouble(props: { text: string; onDismiss?: () => void }): JSX.Element | null {
  if (props.text === '') {
    return null;
  }
  return (
    <Message tone="bad" onDismiss={props.onDismiss}>
      <CodeText text={props.text} />
    </Message>
  );
}

interface IFieldProps {
  readonly label: string;
  readonly text: string;
  readonly onText: (text: string) => void;
  /** What is wrong with the text; empty where nothing is. */
  readonly wrong: string;
  readonly placeholder?: string;
  readonly inputMode?: 'numeric';
}

/** A text to type, its name, and what is wrong with it. */
export function Field(props: IFieldProps): JSX.Element {
  const id = React.useId();
  return (
    <div className="iw-Field">
      <label htmlFor={id}>{props.label}</label>
      <input
        id={id}
        className="jp-mod-styled"
        value={props.text}
        inputMode={props.inputMode}
        placeholder={props.placeholder}
        spellCheck={false}
        autoComplete="off"
        aria-invalid={props.wrong !== ''}
        aria-describedby={`${id}-wrong`}
        onChange={event => props.onText(event.target.value)}
      />
      <p id={`${id}-wrong`} className="iw-Text iw-mod-bad">
        {props.wrong}
      </p>
    </div>
  );
}

/** Figures beside each other: names, and how they are written. */
export function FigureList(props: {
  figures: readonly (readonly [name: string, words: string])[];
}): JSX.Element {
  return (
    <dl className="iw-Running-figures">
      {props.figures.map(([name, words]) => (
        <div key={name} data-figure={name}>
          <dt>{name}</dt>
          <dd>{words}</dd>
        </div>
      ))}
    </dl>
  );
}

interface ISectionProps {
  /** Under which it is remembered whether it is open. */
  readonly name: string;
  readonly title: string;
  /** Stay in reach while the section is closed. */
  readonly actions?: React.ReactNode;
  readonly children: React.ReactNode;
}

/** A part of the panel that can be folded, as those of JupyterLab's own panels. */
export function Section(props: ISectionProps): JSX.Element {
  const id = React.useId();
  const [open, setOpen] = useCollapse(props.name);
  const Caret = open ? caretDownIcon : caretRightIcon;
  return (
    <section className="iw-Section" aria-labelledby={id}>
      <div className="iw-Section-header">
        <h2 className="iw-Section-title">
          <button type="button" id={id} aria-expanded={open} onClick={() => setOpen(!open)}>
            <Caret.react tag="span" width="16px" height="16px" />
            <span className="iw-Section-label">{props.title}</span>
          </button>
        </h2>
        {props.actions && <div className="iw-Section-actions">{props.actions}</div>}
      </div>
      {open && <div className="iw-Section-body">{props.children}</div>}
    </section>
  );
}

/**
 * Run `draw` now and after each tick, while `ref`'s element is in sight.
 *
 * @param draw - stable between renderings, or what it depends on has changed
 */
export function useLive(ref: React.RefObject<Element>, draw: () => void): void {
  const { renderLoop } = usePanel();
  React.useEffect(() => {
    const element = ref.current;
    if (element === null) {
      return;
    }
    let live = renderLoop.add(draw);
    const observer = new IntersectionObserver(entries => {
      live.dispose();
      if (entries[entries.length - 1]?.isIntersecting) {
        live = renderLoop.add(draw);
      }
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      live.dispose();
    };
  }, [ref, draw, renderLoop]);
}

/** Text that is written only when it differs: most ticks change little. */
export function write(element: Element | null, text: string): void {
  if (element !== null && element.textContent !== text) {
    element.textContent = text;
  }
}
