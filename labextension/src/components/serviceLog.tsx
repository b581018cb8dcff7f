import * as React from 'react';
import { logLine } from '../ui/format';
import type { IView } from '../service/state';
import { CommandIDs } from '../tokens';
import { useCollapse, usePanel } from './panelContext';
import { logText, useScrollToEnd, useIsInView, useLogTail } from './logTail';
import { Collapsible } from './collapsible';

const LINES = 40;

/** The end of the log in the panel; collapsed at first, unless the service failed. */
export function Log({ view }: { view: IView }): JSX.Element {
  const { trans } = usePanel();
  const [open, setOpen] = useCollapse('log', view.service?.state === 'Failed');
  return (
    <div className="iw-Log">
      <Collapsible label={trans.__('Log')} open={open} onOpen={setOpen}>
        <Tail view={view} />
      </Collapsible>
    </div>
  );
}

function Tail({ view }: { view: IView }): JSX.Element {
  const { model, commands, trans } = usePanel();
  const text = React.useRef<HTMLPreElement>(null);
  const inSight = useIsInView(text);
  const live = view.link.kind === 'live';
  // A stopped service writes nothing, so one read is enough.
  const running = view.service?.state !== 'Stopped';
  const { lines, trouble, read } = useLogTail(model, LINES, inSight && live, running);
  useScrollToEnd(text, lines);
  return (
    <>
      <pre
        ref={text}
        className="iw-Log-text"
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={trans.__('The last lines of the log')}
      >
        {logText(trans, lines?.map(logLine) ?? null)}
      </pre>
      {trouble && (
        <p className="iw-Text iw-mod-bad">
          {trouble}{' '}
          <button type="button" className="iw-Link" onClick={read}>
            {trans.__('Try again')}
          </button>
        </p>
      )}
      <button
        type="button"
        className="iw-Link"
        onClick={() => void commands.execute(CommandIDs.logs).catch(() => undefined)}
      >
        {trans.__('Open the log in a tab')}
      </button>
    </>
  );
}
