/**
 * The drawing of a live plot as a widget (anywidget), a module of its own: workbench/notebook/static/live.js, which
 * workbench/notebook/loader.js fetches. What travels over the widget's comm is in docs/jupyter.md.
 */

import { type IConnection, type IConnectionHandlers, overWebSocket } from '../service/stream';
import { type IPageModel, type ISource, ofPage, OwnSource } from './liveSource';
import { LiveView } from './liveView';
import { STREAM } from '../plots/contract';
import type { IStatus } from '../service/wire';

/** Of what the loader and this module mean to each other. */
export const API = 1;

/** The rules of style/plots.css and style/live.css, put here by the build. */
declare const STYLE: string;

interface IMessage {
  readonly type: string;
  readonly text?: string;
}

/** What is used of anywidget's model. */
interface IWidgetModel {
  get(name: 'model'): string | null;
  get(name: 'window_s'): number;
  get(name: '_shared'): boolean;
  get(name: '_host'): string;
  on(event: 'msg:custom', hear: (message: IMessage) => void): void;
  on(event: 'change:model' | 'change:window_s', hear: () => void): void;
  off(event: string, hear: (...values: never[]) => void): void;
  send(message: IMessage): void;
}

export async function render({
  model,
  el
}: {
  model: IWidgetModel;
  el: HTMLElement;
}): Promise<() => void> {
  style(el);
  const view = new LiveView(el, await sourceOf(model), {
    model: model.get('model'),
    window_s: model.get('window_s')
  });
  const changed = () => {
    view.setModel(model.get('model'));
    view.setWindow(model.get('window_s'));
  };
  model.on('change:model', changed);
  model.on('change:window_s', changed);
  return () => {
    model.off('change:model', changed);
    model.off('change:window_s', changed);
    view.dispose();
  };
}

/** The page's one stream where there is one, else a socket of the page's server, else the kernel. */
async function sourceOf(model: IWidgetModel): Promise<ISource> {
  const host = model.get('_shared') ? await (page.host ??= hostOfServer()) : null;
  if (host === null || host !== model.get('_host')) {
    let source = comms.get(model);
    if (source === undefined) {
      source = new OwnSource({ open: handlers => overComm(model, handlers) });
      comms.set(model, source);
    }
    return source;
  }
  model.send({ type: 'leave' });
  const own = (globalThis as Record<symbol, unknown>)[STREAM] as IPageModel | undefined;
  const url = new URL('infer-workbench/stream', config().baseUrl.replace(/^http/, 'ws'));
  return (page.source ??= own
    ? ofPage(own)
    : new OwnSource({ open: handlers => overWebSocket(new WebSocket(url), handlers) }));
}

/** What all plots of a page share. */
const page: { host?: Promise<string | null>; source?: ISource } = {};

const comms = new WeakMap<IWidgetModel, ISource>();

/** The machine of the service that the page's server tells of; null: it tells of none. */
async function hostOfServer(): Promise<string | null> {
  const { baseUrl, token } = config();
  if (baseUrl === '') {
    return null;
  }
  const url = new URL('infer-workbench/api/status?no_track_activity=1', baseUrl);
  try {
    const headers = token ? { Authorization: `token ${token}` } : undefined;
    const answer = await fetch(url, { credentials: 'same-origin', ...(headers && { headers }) });
    return answer.ok ? ((await answer.json()) as IStatus).service.host : null;
  } catch {
    return null;
  }
}

/** Of the Jupyter server that the page came from; empty where it came from another kind. */
function config(): { baseUrl: string; token: string } {
  const said = document.getElementById('jupyter-config-data')?.textContent;
  if (!said) {
    return { baseUrl: '', token: '' };
  }
  const { baseUrl = '/', token = '' } = JSON.parse(said) as { baseUrl?: string; token?: string };
  return { baseUrl: new URL(baseUrl, location.href).href, token };
}

/** The widget's comm as a connection. */
function overComm(model: IWidgetModel, { onOpen, onText }: IConnectionHandlers): IConnection {
  const onMessage = ({ type, text = '' }: IMessage) => {
    if (type === 'frame') {
      onText(text);
    }
  };
  model.on('msg:custom', onMessage);
  model.send({ type: 'join' });
  // Only after this function has returned the connection, over which the order goes.
  queueMicrotask(onOpen);
  return {
    send: text => model.send({ type: 'order', text }),
    close: () => {
      model.off('msg:custom', onMessage);
      model.send({ type: 'leave' });
    }
  };
}

/** Once for the page, or the shadow, that holds the widget. */
function style(el: HTMLElement): void {
  const root = el.getRootNode();
  const place = root instanceof ShadowRoot ? root : document.head;
  if (place.querySelector('style[data-infer-workbench]') === null) {
    const rules = document.createElement('style');
    rules.dataset['inferWorkbench'] = '';
    rules.textContent = STYLE;
    place.append(rules);
  }
}
