/** The page's view of the service, and the reducer for its events. Pure. */

import type { Settings } from '../forms/modelSettingsForm';
import { API } from '../version';
import type { Frame, IModelStatus, IService } from './wire';

/** Why a retry would not help. */
export type Missing =
  /** The routes do not exist: the server extension is not installed or not enabled. */
  | 'absent'
  /** The user may not use the routes. */
  | 'forbidden'
  /** Something else answered, as a login page or a proxy. */
  | 'foreign'
  /** The server extension has another version of the contract. */
  | 'incompatible';

export type Link =
  | { readonly kind: 'idle' | 'connecting' | 'live' }
  | {
      readonly kind: 'lost';
      /** Milliseconds since 1970; null while a retry is in progress or the page is hidden. */
      readonly retryAt: number | null;
      /** Whether requests are answered but the WebSocket does not open. */
      readonly blocked: boolean;
    }
  | { readonly kind: 'missing'; readonly why: Missing; readonly message: string };

/** A request to load a model. */
export interface ILoadRequest {
  readonly name: string;
  /** A path of JupyterLab's file browser; empty for the model in the service's own repository. */
  readonly path: string;
  /** Whether to load although inputs or outputs change, on which callers may rely. */
  readonly force?: boolean;
  readonly config?: Settings;
}

/** A load that is in progress or failed. */
export interface IAttempt {
  readonly request: ILoadRequest;
  /** Empty while in progress. */
  readonly trouble: string;
  /** Whether `force` would help: it was refused only because callers could break. */
  readonly forceable: boolean;
}

export type Verb = 'start' | 'stop' | 'restart' | 'unload';

/** The place of an action or failure: '' for the service, else a model's name. */
type Place = string;

export interface IView {
  readonly link: Link;
  /** Null until the server has sent it. */
  readonly service: IService | null;
  readonly models: readonly IModelStatus[];
  /** The version of the server extension; empty until it has sent it. */
  readonly serverVersion: string;
  readonly attempts: readonly IAttempt[];
  /** The model to scroll into view, as it was just loaded or requested; null once that is done. */
  readonly toReveal: string | null;
  readonly busy: ReadonlyMap<Place, Verb>;
  readonly troubles: ReadonlyMap<Place, string>;
  /** Whether figures are overdue. */
  readonly late: boolean;
}

export const INITIAL: IView = {
  link: { kind: 'idle' },
  service: null,
  models: [],
  serverVersion: '',
  attempts: [],
  toReveal: null,
  busy: new Map(),
  troubles: new Map(),
  late: false
};

export type Event =
  | Frame
  | { readonly type: 'link'; readonly link: Link }
  | { readonly type: 'begin'; readonly place: Place; readonly verb: Verb }
  | { readonly type: 'end'; readonly place: Place; readonly trouble: string }
  | { readonly type: 'load'; readonly request: ILoadRequest }
  | { readonly type: 'loaded'; readonly name: string; readonly unchanged: boolean }
  | { readonly type: 'reveal'; readonly name: string }
  | { readonly type: 'revealed'; readonly name: string }
  | { readonly type: 'late'; readonly late: boolean }
  | {
      readonly type: 'refused';
      readonly name: string;
      readonly trouble: string;
      readonly forceable: boolean;
    }
  | { readonly type: 'dismiss'; readonly place: Place };

/** The view after `event`; the same object if nothing changed. */
export function reduce(view: IView, event: Event): IView {
  switch (event.type) {
    case 'link':
      return same(event.link, view.link) ? view : { ...view, link: event.link };
    case 'hello':
      return { ...view, serverVersion: event.version };
    case 'service':
      return same(event.service, view.service) ? view : { ...view, service: event.service };
    case 'models': {
      const models = keepUnchanged(view.models, event.models);
      return models === view.models ? view : { ...view, models };
    }
    case 'begin':
      return {
        ...view,
        busy: including(view.busy, event.place, event.verb),
        troubles: without(view.troubles, event.place)
      };
    case 'end':
      return {
        ...view,
        busy: without(view.busy, event.place),
        troubles: event.trouble
          ? including(view.troubles, event.place, event.trouble)
          : view.troubles,
        models: isUnloaded(view, event) ? withoutFailed(view.models, event.place) : view.models
      };
    case 'load': {
      const attempt = { request: event.request, trouble: '', forceable: false };
      const attempts = [...others(view.attempts, event.request.name), attempt];
      return { ...view, attempts, toReveal: null };
    }
    case 'loaded':
      return {
        ...view,
        attempts: others(view.attempts, event.name),
        toReveal: event.unchanged ? null : event.name
      };
    case 'reveal':
      return { ...view, toReveal: event.name };
    case 'late':
      return view.late === event.late ? view : { ...view, late: event.late };
    case 'revealed':
      return view.toReveal === event.name ? { ...view, toReveal: null } : view;
    case 'refused':
      return {
        ...view,
        attempts: view.attempts.map(attempt =>
          attempt.request.name === event.name
            ? { ...attempt, trouble: event.trouble, forceable: event.forceable }
            : attempt
        )
      };
    case 'dismiss':
      return {
        ...view,
        troubles: without(view.troubles, event.place),
        attempts: view.attempts.filter(
          ({ request, trouble }) => request.name !== event.place || !trouble
        )
      };
    default:
      // Figures are handled elsewhere, and unknown frames of a newer server are ignored.
      return view;
  }
}

/** Whether the list of models is complete: the service runs and has restored its models. */
export function isSettled({ service }: IView): boolean {
  return service?.state === 'Ready' && !service.progress;
}

/** Whether nothing but a refused load exists under a name. */
export function isOnlyRefused({ attempts, models }: IView, name: string): boolean {
  const versions = models.filter(status => status.name === name && status.state !== 'Gone');
  return (
    attempts.some(({ request, trouble }) => request.name === name && trouble !== '') &&
    versions.length > 0 &&
    versions.every(({ state }) => state === 'Failed')
  );
}

/** The link for a server with this contract version; null if it is compatible. */
export function incompatibility(api: number, version: string): Link | null {
  return api === API ? null : { kind: 'missing', why: 'incompatible', message: version };
}

/** `next`, but with the identical objects of `old` where equal, so that React renders only what changed. */
function keepUnchanged(
  old: readonly IModelStatus[],
  next: readonly IModelStatus[]
): readonly IModelStatus[] {
  const known = new Map(old.map(status => [key(status), status]));
  const merged = next.map(status => {
    const before = known.get(key(status));
    return before !== undefined && same(before, status) ? before : status;
  });
  return merged.length === old.length && merged.every((status, i) => status === old[i])
    ? old
    : merged;
}

function key(status: IModelStatus): string {
  return `${status.name}/${status.version}`;
}

function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function isUnloaded({ busy }: IView, { place, trouble }: Extract<Event, { type: 'end' }>): boolean {
  return busy.get(place) === 'unload' && trouble === '';
}

/** Removes an unloaded failed model before the server sends the new list, so that it does not flash up again. */
function withoutFailed(models: readonly IModelStatus[], name: string): readonly IModelStatus[] {
  return models.filter(status => status.name !== name || status.state !== 'Failed');
}

function others(attempts: readonly IAttempt[], name: string): readonly IAttempt[] {
  return attempts.filter(({ request }) => request.name !== name);
}

function including<V>(map: ReadonlyMap<string, V>, key: string, value: V): ReadonlyMap<string, V> {
  return new Map(map).set(key, value);
}

function without<V>(map: ReadonlyMap<string, V>, key: string): ReadonlyMap<string, V> {
  if (!map.has(key)) {
    return map;
  }
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}
