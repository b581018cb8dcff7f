/** Who loaded a version, as the service has written it down. Pure. */

import type { ITrans } from '../plots/contract';
import type { IVersionEvent } from '../service/versionWire';
import * as format from '../ui/format';

/** The load that a version came by; null if it is not written down. */
export function loadOf(history: readonly IVersionEvent[], version: string): IVersionEvent | null {
  const loads = history.filter(
    ({ action, detail }) =>
      (action === 'load' || action === 'commit') &&
      new RegExp(`^version ${version}\\b`).test(detail) &&
      !detail.endsWith(', unchanged')
  );
  return loads.at(-1) ?? null;
}

/** The notebook whose kernel did it; null if it was none, or it has no name. */
export function notebookOf({ agent = '' }: IVersionEvent): string | null {
  return /\(kernel of (.+); pid \d+\)$/.exec(agent)?.[1] ?? null;
}

/** Who did it, in words: "01_quickstart.ipynb", "the panel", "the command line". */
export function doerText(trans: ITrans, event: IVersionEvent): string {
  const notebook = notebookOf(event);
  if (notebook !== null) {
    return notebook;
  }
  if (event.who !== 'owner') {
    return event.who;
  }
  switch (/\(([^();]+); pid \d+\)$/.exec(event.agent ?? '')?.[1]) {
    case 'panel':
      return trans.__('the panel');
    case 'command line':
      return trans.__('the command line');
    case 'kernel':
      return trans.__('a notebook');
    case 'Python':
      return trans.__('a Python program');
    default:
      return trans.__('its owner');
  }
}

/** "Loaded by 01_quickstart.ipynb, 14:03 today". */
export function loadedByText(trans: ITrans, event: IVersionEvent): string {
  return trans.__('Loaded by %1, %2', doerText(trans, event), format.moment(event.at));
}

/**
 * What a user is asked before a load from the panel takes the place of a version that a notebook loaded, since the
 * user of that notebook does not see it happen; null where no question is needed.
 */
export function replacingQuestion(
  trans: ITrans,
  name: string,
  version: string,
  load: IVersionEvent | null
): string | null {
  const notebook = load === null ? null : notebookOf(load);
  return load === null || notebook === null
    ? null
    : trans.__(
        'Version %1 of %2 was loaded by %3, %4. What is loaded now serves in its place; the notebook’s calls get its answers. Versions → Roll back goes back.',
        version,
        name,
        notebook,
        format.moment(load.at)
      );
}
