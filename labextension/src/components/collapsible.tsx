import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

interface IToggleProps {
  readonly label: string;
  /** The id of the part's element. */
  readonly part: string;
  readonly open: boolean;
  readonly onToggle: () => void;
}

/** A button that folds and unfolds a part. */
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

/** A part below the button that folds and unfolds it; it is made anew each time. */
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

/** Made when it is first unfolded, and kept from then on: folding it loses nothing that was typed. */
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

/** Of unknown length. */
export function Progress(): JSX.Element {
  return <div className="iw-Progress" aria-hidden="true" />;
}
