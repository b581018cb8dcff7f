import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { NAMESPACE } from '../tokens';

/** A request that was not answered as asked; `message` is one for the user to read. */
export class RequestError extends Error {
  constructor(
    message: string,
    /** Of the HTTP answer; 0: there was none, -1: there was one, and it was not ours. */
    readonly status: number,
    /** A short code to tell errors of one status apart; mostly empty. */
    readonly reason: string = ''
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

/**
 * Ask the server extension for a text.
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
 * Ask the server extension.
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
    // A login page, or a proxy's: nothing that the server extension said.
    throw new RequestError('The answer was not JSON', -1);
  }
  return body as T;
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

/** Undefined where it is no JSON. */
function parsed(text: string): unknown {
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    return undefined;
  }
}

/** Throw what the answer says went wrong, if anything. */
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
