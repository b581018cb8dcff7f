import { caretDownIcon, caretRightIcon, closeIcon, type LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import type { Tone } from '../ui/labels';
import { useCollapse, usePanel } from './panelContext';

interface IIconButtonProps {
  readonly icon: LabIcon;
  /** The tooltip and the accessible name. */
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
  /** The accessible name where the label alone is ambiguous; it begins with the label. */
  readonly name?: string;
  readonly onClick?: () => void;
  readonly disabled?: boolean;
  /** Marks the main action of its place. */
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

/** A sentence; text between backticks is shown as code. */
export function CodeText({ text }: { text: string }): JSX.Element {
  return (
    <>{text.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>
  );
}

/** A state as a coloured dot and a word. */
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

/** A message at the place that it concerns. Screen readers announce errors. */
export function Message({ tone, onDismiss, children }: IMessageProps): JSX.Element {
  const { trans } = usePanel();
  return (
    <div className={`iw-Message iw-mod-${tone}`} role={tone === 'bad' ? 'alert' : undefined}>
      <div className="iw-Message-text">{children}</div>
      {onDismiss && <IconButton icon={closeIcon} label={trans.__('Dismiss')} onClick={onDismiss} />}
    </div>
  );
}

/** An error message; nothing for an empty text. */
export function ErrorMessage(props: { text: string; onDismiss?: () => void }): JSX.Element | null {
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
  /** The error message; empty if the text is valid. */
  readonly wrong: string;
  readonly placeholder?: string;
  readonly inputMode?: 'numeric';
  /** A text area of this many lines instead of an input. */
  readonly lines?: number | undefined;
}

/** A text input with its label and error message. */
export function Field(props: IFieldProps): JSX.Element {
  const id = React.useId();
  const Input = props.lines === undefined ? 'input' : 'textarea';
  return (
    <div className="iw-Field">
      <label htmlFor={id}>{props.label}</label>
      <Input
        id={id}
        className="jp-mod-styled"
        value={props.text}
        rows={props.lines}
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

/** A row of figures with their names. */
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
  /** The key under which the collapse state is stored. */
  readonly name: string;
  readonly title: string;
  /** Buttons that stay visible while the section is collapsed. */
  readonly actions?: React.ReactNode;
  readonly children: React.ReactNode;
}

/** A section of the panel that can be collapsed, like those of JupyterLab's own panels. */
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
 * Runs `draw` now and after each tick, while `ref`'s element is in view.
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

/** Writes text only if it differs, since most ticks change little. */
export function write(element: Element | null, text: string): void {
  if (element !== null && element.textContent !== text) {
    element.textContent = text;
  }
}
