import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';
import type { IModelGroup } from '../service/groupByModel';
import type { IView } from '../service/state';
import { MODEL_TONES, modelStateLabel, SERVICE_TONES, serviceStateLabel } from '../ui/labels';
import { State } from './primitives';

interface INoticeProps {
  readonly view: IView;
  readonly trans: TranslationBundle;
  readonly hasModels: boolean;
  readonly openPanel: () => void;
}

/** Says why the figures stand still and what to do; nothing if they should move. */
export function ServiceNotice(props: INoticeProps): JSX.Element | null {
  const { view, trans, hasModels, openPanel } = props;
  const { link, service } = view;
  let words: React.ReactNode;
  if (link.kind === 'missing') {
    words = trans.__('The inference service cannot be reached. The panel says why.');
  } else if (link.kind === 'lost') {
    words = trans.__('Connection to Jupyter lost, retrying: these are the last figures.');
  } else if (service === null) {
    words = trans.__('Looking for the service…');
  } else if (service.state !== 'Ready') {
    const word = trans.__('The service: %1', serviceStateLabel(trans, service.state));
    words = (
      <>
        <State tone={SERVICE_TONES[service.state]} word={word} /> {service.reason}
      </>
    );
  } else if (!hasModels) {
    words = trans.__('No model is served yet. Load one in the panel, and it is drawn here.');
  } else {
    return null;
  }
  return (
    <p className="iw-Dashboard-notice" role="status">
      {words}{' '}
      <button type="button" className="iw-Link" onClick={openPanel}>
        {trans.__('Show the panel')}
      </button>
    </p>
  );
}

/** Whether the figures stand still because the service is away. */
export function isAway({ service }: IView): boolean {
  return service === null || service.state !== 'Ready';
}

interface IModelStateProps {
  readonly trans: TranslationBundle;
  /** Absent if the model is not served. */
  readonly entry: IModelGroup | undefined;
  readonly away: boolean;
}

/** The version, the state and the device of a model, beside its name. */
export function ModelState({ trans, entry, away }: IModelStateProps): JSX.Element {
  const tone = entry && !away ? MODEL_TONES[entry.current.state] : 'off';
  const word = away
    ? trans.__('Waiting for the service')
    : entry
      ? modelStateLabel(trans, entry.current.state)
      : trans.__('Not served any more');
  return (
    <>
      {entry && <span className="iw-mod-quiet">v{entry.current.version}</span>}
      <State tone={tone} word={word} />
      {entry?.current.device && <span className="iw-mod-quiet">{entry.current.device}</span>}
    </>
  );
}
