/** Texts for states and failures. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IAttempt, Link } from '../service/state';
import type {
  ICircuit,
  IModelStatus,
  IProvenance,
  ModelState,
  ServiceState
} from '../service/wire';

/** The colour class of a state. */
export type Tone = 'good' | 'busy' | 'bad' | 'off';

export const SERVICE_TONES: Readonly<Record<ServiceState, Tone>> = {
  Ready: 'good',
  Starting: 'busy',
  Restarting: 'busy',
  Stopping: 'busy',
  Stopped: 'off',
  Failed: 'bad'
};

export const MODEL_TONES: Readonly<Record<ModelState, Tone>> = {
  Ready: 'good',
  Loading: 'busy',
  Warming: 'busy',
  Draining: 'busy',
  Gone: 'off',
  Failed: 'bad'
};

export function serviceStateLabel(trans: TranslationBundle, state: ServiceState): string {
  switch (state) {
    case 'Ready':
      return trans.__('Ready');
    case 'Starting':
      return trans.__('Starting…');
    case 'Restarting':
      return trans.__('Restarting…');
    case 'Stopping':
      return trans.__('Stopping…');
    case 'Stopped':
      return trans.__('Stopped');
    case 'Failed':
      return trans.__('Failed');
    default:
      return state;
  }
}

export function modelStateLabel(trans: TranslationBundle, state: ModelState): string {
  switch (state) {
    case 'Ready':
      return trans.__('Ready');
    case 'Loading':
      return trans.__('Loading…');
    case 'Warming':
      return trans.__('Warming up…');
    case 'Draining':
      return trans.__('Draining…');
    case 'Gone':
      return trans.__('Gone');
    case 'Failed':
      return trans.__('Failed');
    default:
      return state;
  }
}

/** What a circuit breaker that is not closed means for callers; null where it is closed, or there is none. */
export function circuitNotice(
  trans: TranslationBundle,
  circuit: ICircuit | null | undefined
): { readonly word: string; readonly text: string } | null {
  if (!circuit || circuit.state === 'closed') {
    return null;
  }
  const word = circuit.state === 'open' ? trans.__('Circuit open') : trans.__('Circuit half-open');
  return {
    word,
    text: circuit.fallback
      ? trans.__(
          'Version %1 answers until this one does again: %2',
          circuit.fallback,
          circuit.reason
        )
      : trans.__('Calls are refused until it answers again: %1', circuit.reason)
  };
}

/** A reason with a capital first letter, for a line of its own. */
export function capitalized(reason: string): string {
  return reason.charAt(0).toLocaleUpperCase() + reason.slice(1);
}

/** Why a load was refused, without the hint for Python and the shell on how to force it: the panel has a button. */
export function refusal({ trouble, forceable }: IAttempt): string {
  return capitalized(forceable ? trouble.replace(/; force=True \(--force\).*$/, '.') : trouble);
}

/** The result of a load that found the same model already served. */
export function unchangedText(trans: TranslationBundle, name: string): string {
  return trans.__('%1 serves this very model already: nothing has changed.', name);
}

export interface INotice {
  readonly title: string;
  readonly text: string;
  /** The message of the refusal; may be empty. */
  readonly detail: string;
}

/** A notice about what is missing, and what to do. */
export function missingNotice(
  trans: TranslationBundle,
  link: Extract<Link, { kind: 'missing' }>,
  hasServer: boolean,
  version: string
): INotice {
  if (!hasServer) {
    return {
      title: trans.__('A Jupyter server is needed'),
      text: trans.__(
        'This page runs without one (JupyterLite), so there is nothing that could serve a model. Open the notebook in JupyterLab on a Jupyter server.'
      ),
      detail: ''
    };
  }
  switch (link.why) {
    case 'absent':
      return {
        title: trans.__('The server extension is not running'),
        text: trans.__(
          'Install infer-workbench in the environment that Jupyter runs in, see that `jupyter server extension list` has workbench.jupyter enabled, and restart Jupyter.'
        ),
        detail: ''
      };
    case 'forbidden':
      return {
        title: trans.__('Jupyter does not let you in'),
        text: trans.__(
          'Your sign-in may have ended: reload the page. If that does not help, you may not use the inference service on this server; ask who runs it.'
        ),
        detail: link.message
      };
    case 'foreign':
      return {
        title: trans.__('Something else answered'),
        text: trans.__(
          'The answer did not come from the server extension: a login page or a proxy may stand between. Reload the page to sign in again.'
        ),
        detail: ''
      };
    case 'incompatible':
      return {
        title: trans.__('The versions do not fit'),
        text: trans.__(
          'The front end is %1, the server extension %2: reload the page or restart Jupyter.',
          version,
          link.message
        ),
        detail: ''
      };
  }
}

const SHOWN_CLASSES = 20;

/** The number of a version, its labels, and its part of the calls where these are split. */
export function versionText(
  status: Pick<IModelStatus, 'version' | 'version_labels' | 'weight'>
): string {
  const weight = status.weight ?? 0;
  const part = weight > 0 && weight < 1 ? [`${Number((weight * 100).toFixed(2))} %`] : [];
  return [`v${status.version}`, ...(status.version_labels ?? []), ...part].join(' · ');
}

/** One line for each output whose columns have names: which column is which class. */
export function classesText(
  trans: TranslationBundle,
  labels: Readonly<Record<string, readonly string[]>>
): string[] {
  return Object.entries(labels).map(([output, names]) => {
    const shown = names
      .slice(0, SHOWN_CLASSES)
      .map((name, i) => (name === String(i) ? name : `${i} ${name}`));
    const more = names.length - shown.length;
    return trans.__(
      'Columns of %1: %2',
      output,
      [...shown, ...(more > 0 ? [trans.__('%1 more', more)] : [])].join(', ')
    );
  });
}

/** One line on where a model came from: source, versions, day, remarks, and how its answers agree. */
export function provenanceText(trans: TranslationBundle, found: IProvenance): string {
  const versions = Object.entries(found.versions).map(([name, version]) => `${name} ${version}`);
  const source = versions.length > 0 ? `${found.source} (${versions.join(', ')})` : found.source;
  const when = found.exported_at > 0 ? new Date(found.exported_at * 1000).toLocaleDateString() : '';
  const parts = [
    when ? trans.__('Exported from %1 on %2', source, when) : trans.__('Exported from %1', source),
    ...found.notes,
    found.check?.summary ?? ''
  ];
  return parts.filter(Boolean).join(' · ');
}
