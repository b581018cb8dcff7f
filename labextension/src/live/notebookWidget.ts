/**
 * The front end of the live plot's widget (anywidget). It is built as workbench/notebook/static/live.js, which
 * workbench/notebook/loader.js fetches. docs/jupyter.md describes the messages of the widget's comm.
 */

import { type IConnection, type IConnectionHandlers, overWebSocket } from '../service/stream';
import { type IPageModel, type ISource, ofPage, OwnSource } from './liveSource';
import { LiveView } from './liveView';
import { STREAM } from '../plots/contract';
import type { IStatus } from '../service/wire';

/** The version of the interface between the loader and this module. */
export const API = 1;

/** The build inserts style/plots.css and style/live.css. */
declare const STYLE: string;

interface IMessage {
  readonly type: string;
  readonly text?: string;
}

/** The part of anywidget's model that is used here. */
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

/** The page's one stream, else a socket to the page's server, else the comm to the kernel. */
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

/** State that all plots of a page share. */
const page: { host?: Promise<string | null>; source?: ISource } = {};

const comms = new WeakMap<IWidgetModel, ISource>();

/** The host of the page's server's service; null without such a service. */
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

/** The URL and token of the page's Jupyter server; empty if it has none. */
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
  // The order goes over the connection, so this function has to return it first.
  queueMicrotask(onOpen);
  return {
    send: text => model.send({ type: 'order', text }),
    close: () => {
      model.off('msg:custom', onMessage);
      model.send({ type: 'leave' });
    }
  };
}

/** Adds the style sheet once per document or shadow root. */
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
