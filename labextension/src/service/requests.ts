import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { NAMESPACE } from '../tokens';
import { parseVisible } from './visibleText';

/** A request that failed; `message` is written for the user. */
export class RequestError extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 without an answer, -1 for an answer that is not the server extension's. */
    readonly status: number,
    /** A short code that distinguishes errors of one status; mostly empty. */
    readonly reason: string = ''
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

/**
 * Requests a text from the server extension.
 *
 * @throws RequestError
 */
export async function requestText(
  settings: ServerConnection.ISettings,
  path: string
): Promise<string> {
  const { response, text } = await fetched(settings, path, {});
  accept(response, parsed(text));
  return text;
}

/**
 * Requests JSON from the server extension.
 *
 * @param path - below `infer-workbench/`, its parts encoded
 * @param init - a body makes it JSON
 * @returns the parsed answer, of a type that the caller knows from the contract
 * @throws RequestError
 */
export async function requestAPI<T>(
  settings: ServerConnection.ISettings,
  path: string,
  init: RequestInit = {}
): Promise<T> {
  const { response, text } = await fetched(settings, path, init);
  const body = parsed(text);
  accept(response, body);
  if (typeof body !== 'object' || body === null) {
    // A login page, or a proxy's page, not an answer of the server extension.
    throw new RequestError('The answer was not JSON', -1);
  }
  return body as T;
}

/**
 * Requests lines of JSON, which come one after another, until the last one or until `signal` aborts.
 *
 * @throws RequestError, also where a line says an error
 */
export async function requestLines<T>(
  settings: ServerConnection.ISettings,
  path: string,
  onLine: (line: T) => void,
  signal: AbortSignal
): Promise<void> {
  const url = URLExt.join(settings.baseUrl, NAMESPACE, path);
  try {
    const response = await ServerConnection.makeRequest(url, { signal }, settings);
    if (!response.ok || !response.body) {
      accept(response, parsed(await response.text()));
      throw new RequestError('The answer was empty', -1);
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const lines = (rest + read.value).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const said = parsed(line);
        if (typeof said !== 'object' || said === null) {
          throw new RequestError('The answer was not JSON', -1);
        }
        const { message, reason } = said as { message?: unknown; reason?: unknown };
        if (typeof message === 'string') {
          throw new RequestError(message, 0, typeof reason === 'string' ? reason : '');
        }
        onLine(said as T);
      }
    }
  } catch (error) {
    if (signal.aborted) {
      return;
    }
    throw error instanceof RequestError
      ? error
      : new RequestError(error instanceof Error ? error.message : String(error), 0);
  }
}

async function fetched(
  settings: ServerConnection.ISettings,
  path: string,
  init: RequestInit
): Promise<{ response: Response; text: string }> {
  const url = URLExt.join(settings.baseUrl, NAMESPACE, path);
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
  } catch (error) {
    throw new RequestError(error instanceof Error ? error.message : String(error), 0);
  }
  return { response, text: await response.text() };
}

/** Undefined if the text is not JSON. */
function parsed(text: string): unknown {
  try {
    return text ? parseVisible(text) : {};
  } catch {
    return undefined;
  }
}

/** Throws the error of an answer, if it has one. */
function accept(response: Response, body: unknown): void {
  if (!response.ok) {
    const { message, reason } = (body ?? {}) as { message?: unknown; reason?: unknown };
    throw new RequestError(
      typeof message === 'string' && message
        ? message
        : `HTTP ${response.status} ${response.statusText}`,
      response.status,
      typeof reason === 'string' ? reason : ''
    );
  }
}
