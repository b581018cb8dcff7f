import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

interface IToggleProps {
  readonly label: string;
  /** The id of the element that it expands. */
  readonly part: string;
  readonly open: boolean;
  readonly onToggle: () => void;
}

/** A button that expands and collapses an element. */
export function CollapseToggle({ label, part, open, onToggle }: IToggleProps): JSX.Element {
  const Caret = open ? caretDownIcon : caretRightIcon;
  return (
    <button
      type="button"
      className="iw-CollapseToggle"
      aria-expanded={open}
      aria-controls={part}
      onClick={onToggle}
    >
      <Caret.react tag="span" width="14px" height="14px" />
      {label}
    </button>
  );
}

/** A toggle with its content below; the content is created each time it expands. */
export function Collapsible(props: {
  label: string;
  open: boolean;
  onOpen: (open: boolean) => void;
  children: React.ReactNode;
}): JSX.Element {
  const { label, open, onOpen, children } = props;
  const id = React.useId();
  return (
    <>
      <CollapseToggle label={label} part={id} open={open} onToggle={() => onOpen(!open)} />
      <div id={id} hidden={!open}>
        {open && children}
      </div>
    </>
  );
}

/** Content that is created when first expanded and then kept, so that collapsing loses no typed text. */
export function CollapsibleBody(props: {
  id: string;
  open: boolean;
  children: React.ReactNode;
}): JSX.Element {
  const was = React.useRef(props.open);
  was.current ||= props.open;
  return (
    <div id={props.id} hidden={!props.open}>
      {was.current && props.children}
    </div>
  );
}

/** A progress bar of unknown length. */
export function Progress(): JSX.Element {
  return <div className="iw-Progress" aria-hidden="true" />;
}
