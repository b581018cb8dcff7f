import * as React from 'react';
import type { IView, Link } from '../service/state';
import { VERSION } from '../version';
import { missingNotice } from '../ui/labels';
import { Button, Message, CodeText } from './primitives';
import { usePanel } from './panelContext';
import { EndpointSection } from './endpointSection';
import { LiveSection } from './liveSection';
import { LoadTestsSection } from './loadtestSection';
import { ModelsSection } from './modelsSection';
import { ServiceSection } from './serviceSection';

interface IProps {
  readonly view: IView;
  /** False in JupyterLite. */
  readonly hasServer: boolean;
}

/** The whole panel: its sections, or a notice about what is missing. */
export function Body({ view, hasServer }: IProps): JSX.Element {
  const { model, trans } = usePanel();
  const [seen, setSeen] = React.useState('');
  const { link } = view;
  if (link.kind === 'missing') {
    const notice = missingNotice(trans, link, hasServer, VERSION);
    return (
      <div className="iw-Notice" role="alert">
        <h2>{notice.title}</h2>
        <p>
          <CodeText text={notice.text} />
        </p>
        {notice.detail && <p className="iw-mod-quiet">{notice.detail}</p>}
        <Button label={trans.__('Try again')} primary onClick={() => model.retry()} />
      </div>
    );
  }
  const other = view.serverVersion;
  // What is below the models would move as soon as they are known.
  const isEmpty = view.service === null && link.kind !== 'lost';
  return (
    <div className={link.kind === 'lost' ? 'iw-Body iw-mod-stale' : 'iw-Body'}>
      {link.kind === 'lost' && <Lost link={link} />}
      {other && other !== VERSION && other !== seen && (
        <Message tone="warn" onDismiss={() => setSeen(other)}>
          {trans.__(
            'The front end is %1, the server extension %2: reload the page or restart Jupyter',
            VERSION,
            other
          )}
        </Message>
      )}
      <ServiceSection view={view} />
      <div className={isEmpty ? 'iw-mod-waiting' : undefined}>
        <ModelsSection view={view} />
        <LiveSection view={view} />
        <EndpointSection view={view} />
        <LoadTestsSection view={view} />
      </div>
    </div>
  );
}

/** Counts down to the next attempt. */
function Lost({ link }: { link: Extract<Link, { kind: 'lost' }> }): JSX.Element {
  const { model, trans } = usePanel();
  const [now, setNow] = React.useState(Date.now);
  const { retryAt, blocked } = link;
  React.useEffect(() => {
    setNow(Date.now());
    if (retryAt === null) {
      return;
    }
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [retryAt]);
  const seconds = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - now) / 1000));
  return (
    <Message tone="warn">
      <span role="status">
        {blocked
          ? trans.__(
              'Jupyter answers, but live figures do not come through: a proxy may block WebSockets'
            )
          : trans.__('Connection to Jupyter lost')}
      </span>
      {seconds > 0 ? trans.__('; trying again in %1 s', seconds) : trans.__('; trying again…')}{' '}
      <button type="button" className="iw-Link" onClick={() => model.retry()}>
        {trans.__('Try now')}
      </button>
    </Message>
  );
}
