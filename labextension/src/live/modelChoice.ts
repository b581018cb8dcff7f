/** Selects the model to show, and says why figures stand still. Pure. */

import type { ITrans } from '../plots/contract';
import type { IHistory } from '../service/wire';
import type { ServiceView } from './liveSource';

/** The names that can be selected, each once, in the order of the service. */
export function modelNames(view: ServiceView): readonly string[] {
  return [...new Set(view.models.filter(({ state }) => state !== 'Gone').map(m => m.name))];
}

/** The model with the most requests in the history, the first among equals; null if there are none. */
export function busiest(history: IHistory): string | null {
  let found: string | null = null;
  let most = -1;
  for (const [name, columns] of Object.entries(history.models)) {
    const sum = columns.requests_per_s.reduce<number>((total, value) => total + (value ?? 0), 0);
    if (sum > most) {
      [found, most] = [name, sum];
    }
  }
  return found;
}

/** Why the figures stand still, as a sentence; empty if they move or soon will. */
export function idleReason(trans: ITrans, view: ServiceView, model: string | null): string {
  const { link, service } = view;
  if (link.kind === 'lost') {
    return trans.__('The connection is lost; it is tried again.');
  }
  if (link.kind === 'missing') {
    return link.why === 'incompatible'
      ? trans.__('The server extension has another version: reload the page.')
      : trans.__('The server extension does not answer: reload the page.');
  }
  if (link.kind !== 'live' || service === null) {
    return '';
  }
  switch (service.state) {
    case 'Ready':
      break;
    case 'Stopped':
      return because(trans.__('The service is stopped'), service.reason);
    case 'Failed':
      return because(trans.__('The service has failed'), service.reason);
    case 'Starting':
      return because(trans.__('The service is starting'), service.progress ?? '');
    case 'Restarting':
      return because(trans.__('The service is restarting'), service.reason);
    case 'Stopping':
      return trans.__('The service is stopping.');
  }
  if (model === null) {
    return modelNames(view).length === 0
      ? trans.__('No model is served yet; the figures begin when one is.')
      : '';
  }
  const versions = view.models.filter(({ name }) => name === model);
  if (versions.length === 0) {
    return trans.__('No model %1 is served; the figures begin when it is.', model);
  }
  const failed = versions.every(({ state }) => state === 'Failed');
  return failed ? because(trans.__('%1 has failed', model), versions.at(-1)?.reason ?? '') : '';
}

function because(what: string, reason: string): string {
  return reason ? `${what}: ${reason.replace(/\.$/, '')}.` : `${what}.`;
}
