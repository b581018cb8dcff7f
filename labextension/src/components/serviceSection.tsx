import { Clipboard } from '@jupyterlab/apputils';
import { copyIcon, listIcon, refreshIcon, runIcon, stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';
import * as format from '../ui/format';
import type { IView } from '../service/state';
import { CommandIDs } from '../tokens';
import type { IService } from '../service/wire';
import { capitalized, SERVICE_TONES, serviceStateLabel } from '../ui/labels';
import { Button, IconButton, Section, State, ErrorMessage, CodeText } from './primitives';
import { usePanel } from './panelContext';
import { Log } from './serviceLog';
import { Usage } from './resourceUsage';

/** The service: its state, address and devices, and buttons to start, stop and restart it. */
export function ServiceSection({ view }: { view: IView }): JSX.Element {
  const { model, trans } = usePanel();
  const { service } = view;
  const trouble = view.troubles.get('') ?? '';
  return (
    <Section name="service" title={trans.__('Service')} actions={<Actions />}>
      <ErrorMessage text={trouble} onDismiss={() => model.dismiss()} />
      <div role="status" className="iw-Service-state">
        {service ? (
          <State
            tone={SERVICE_TONES[service.state]}
            word={serviceStateLabel(trans, service.state)}
          />
        ) : (
          <State tone="busy" word={trans.__('Looking…')} />
        )}
        {service?.reason && (
          <p className={`iw-Text ${service.state === 'Ready' ? 'iw-mod-quiet' : ''}`}>
            <CodeText
              text={
                service.state === 'Ready'
                  ? trans.__('Restarted: %1', service.reason)
                  : capitalized(service.reason)
              }
            />
          </p>
        )}
        {service?.progress && <Restore words={service.progress} />}
        {service?.state === 'Ready' && view.late && (
          <p className="iw-Text iw-mod-late">
            {trans.__('No new figures for some seconds: the service or the network is busy.')}
          </p>
        )}
      </div>
      {service?.state === 'Stopped' && (
        <>
          <p className="iw-Text iw-mod-quiet">
            {trans.__('The service is not running. It starts by itself when a model is loaded.')}
          </p>
          <div className="iw-Row">
            <Do id={CommandIDs.start} label={trans.__('Start')} primary />
          </div>
        </>
      )}
      {service?.state === 'Failed' && (
        <div className="iw-Row">
          <Do id={CommandIDs.restart} label={trans.__('Restart')} primary />
          <Do id={CommandIDs.logs} label={trans.__('Logs')} />
        </div>
      )}
      {service?.state === 'Ready' && <Facts service={service} />}
      {service?.notes.map(note => (
        <p key={note} className="iw-Text iw-mod-quiet">
          <CodeText text={note} />
        </p>
      ))}
      {service && <Log view={view} />}
    </Section>
  );
}

/** The progress of restoring the models that were served before. */
function Restore({ words }: { words: string }): JSX.Element {
  const { trans } = usePanel();
  const [done, all] = format.progress(words) ?? [0, 0];
  return (
    <>
      <p className="iw-Text">{capitalized(words)}</p>
      {all > 0 && (
        <progress
          className="iw-Restore"
          aria-label={trans.__('Models restored')}
          value={done}
          max={all}
        />
      )}
    </>
  );
}

function Actions(): JSX.Element {
  const { commands, trans } = usePanel();
  const button = (id: string, icon: typeof runIcon, label: string) => (
    <IconButton
      icon={icon}
      label={label}
      disabled={!commands.isEnabled(id)}
      onClick={() => run(commands, id)}
    />
  );
  return (
    <>
      {button(CommandIDs.start, runIcon, trans.__('Start the service'))}
      {button(CommandIDs.stop, stopIcon, trans.__('Stop the service'))}
      {button(CommandIDs.restart, refreshIcon, trans.__('Restart the service'))}
      {button(CommandIDs.logs, listIcon, trans.__('Show the logs'))}
    </>
  );
}

function Do(props: { id: string; label: string; primary?: boolean }): JSX.Element {
  const { commands } = usePanel();
  return (
    <Button
      label={props.label}
      primary={props.primary ?? false}
      disabled={!commands.isEnabled(props.id)}
      onClick={() => run(commands, props.id)}
    />
  );
}

/** A failure is in the state too, which is shown, so it needs no handling here. */
function run(commands: ReturnType<typeof usePanel>['commands'], id: string): void {
  void commands.execute(id).catch(() => undefined);
}

const Facts = React.memo(function Facts({ service }: { service: IService }): JSX.Element {
  const { trans } = usePanel();
  const [host, port] = format.address(service.url);
  return (
    <>
      <Usage />
      <dl className="iw-Facts">
        <dt>{trans.__('Device')}</dt>
        <dd>{service.device_words || service.devices.join(', ') || format.UNKNOWN}</dd>
        {host && (
          <>
            <dt>{trans.__('Address')}</dt>
            <dd className="iw-Facts-copy">
              <span className="iw-Code" title={service.url}>
                {host}
                <wbr />
                {port}
              </span>
              <IconButton
                icon={copyIcon}
                label={trans.__('Copy the address')}
                onClick={() => Clipboard.copyToSystem(service.url)}
              />
            </dd>
          </>
        )}
        {service.host && (
          <>
            <dt>{trans.__('Host')}</dt>
            <dd>{service.host}</dd>
          </>
        )}
        <dt>{trans.__('Version')}</dt>
        <dd>{service.version}</dd>
      </dl>
    </>
  );
});
