import { ServerConnection } from '@jupyterlab/services';
import { describe, expect, test } from 'vitest';
import { requestAPI, RequestError, requestLines } from '../../src/service/requests';

/** Settings of a server that answers so; `asked` gets what it was asked. */
function answering(answer: () => Response, asked: Request[] = []): ServerConnection.ISettings {
  return ServerConnection.makeSettings({
    baseUrl: 'http://here/user/alice/',
    token: 'secret',
    fetch: async (input, init) => {
      asked.push(new Request(input as Request, init));
      return answer();
    }
  });
}

async function failure(answer: () => Response): Promise<RequestError> {
  return requestAPI(answering(answer), 'api/status').then(
    () => Promise.reject(new Error('it did not fail')),
    (error: RequestError) => error
  );
}

test('the path lies below the base URL, and the body is JSON', async () => {
  const asked: Request[] = [];
  const settings = answering(() => new Response('{"state": "Ready"}'), asked);
  const init = { method: 'POST', body: '{"path": "x"}' };
  expect(await requestAPI(settings, 'api/models/x/load', init)).toEqual({ state: 'Ready' });
  expect(asked[0]?.url).toMatch(
    /^http:\/\/here\/user\/alice\/infer-workbench\/api\/models\/x\/load\?\d+$/
  );
  expect(asked[0]?.headers.get('Authorization')).toContain('secret');
  expect(await asked[0]?.json()).toEqual({ path: 'x' });
});

// makeRequest adds a number, against caches.
test('a query stays one', async () => {
  const asked: Request[] = [];
  await requestAPI(
    answering(() => new Response('{}'), asked),
    'api/logs?lines=5&a=b'
  );
  expect(asked[0]?.url).toMatch(/infer-workbench\/api\/logs\?lines=5&a=b&\d+$/);
});

describe('errors', () => {
  test('have the words, the status and the reason of the server', async () => {
    const body = '{"message": "There is no such file.", "reason": "not_found"}';
    const error = await failure(() => new Response(body, { status: 404 }));
    expect(error).toBeInstanceOf(RequestError);
    expect(error).toMatchObject({
      message: 'There is no such file.',
      status: 404,
      reason: 'not_found'
    });
  });

  test('without words say the status', async () => {
    const page = () => new Response('<html>', { status: 502, statusText: 'Bad Gateway' });
    expect(await failure(page)).toMatchObject({ message: 'HTTP 502 Bad Gateway', status: 502 });
  });

  test('of the network have status 0', async () => {
    const error = await failure(() => {
      throw new TypeError('Failed to fetch');
    });
    expect(error).toMatchObject({ message: 'Failed to fetch', status: 0 });
  });

  test('a login page is no answer', async () => {
    expect(await failure(() => new Response('<html>'))).toMatchObject({ status: -1 });
  });
});

describe('lines', () => {
  const read = async (answer: () => Response, signal = new AbortController().signal) => {
    const lines: unknown[] = [];
    await requestLines(answering(answer), 'api/x', line => lines.push(line), signal);
    return lines;
  };
  const parts = (...some: string[]) =>
    new Response(
      new ReadableStream({
        start: stream => {
          some.forEach(part => stream.enqueue(new TextEncoder().encode(part)));
          stream.close();
        }
      })
    );

  test('are told one by one, however they come', async () => {
    expect(await read(() => parts('{"a": 1}\n{"a"', ': 2}\n'))).toEqual([{ a: 1 }, { a: 2 }]);
  });

  test('end with the error that one of them says, or that the answer is', async () => {
    const late = '{"a": 1}\n{"message": "It has gone.", "reason": "unavailable"}\n';
    await expect(read(() => parts(late))).rejects.toMatchObject({
      message: 'It has gone.',
      reason: 'unavailable'
    });
    const refused = () => new Response('{"message": "No such version."}', { status: 404 });
    await expect(read(refused)).rejects.toMatchObject({ message: 'No such version.', status: 404 });
    await expect(read(() => parts('<html>\n'))).rejects.toMatchObject({ status: -1 });
  });

  test('that nobody wants any more are no failure', async () => {
    const leaving = new AbortController();
    leaving.abort();
    expect(await read(() => parts('<html>\n'), leaving.signal)).toEqual([]);
  });
});
