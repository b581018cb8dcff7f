import type { ITrial } from './wire';

/**
 * The request of a trial. Files follow the JSON as they are: in it, base64 would take a third more and hold up the page and
 * the server.
 */
export function trialRequest({ files, ...asked }: ITrial): RequestInit {
  if (files === undefined || files.size === 0) {
    return { method: 'POST', body: JSON.stringify(asked) };
  }
  const sizes = Object.fromEntries([...files].map(([name, file]) => [name, file.size]));
  const head = new TextEncoder().encode(JSON.stringify({ ...asked, files: sizes }));
  // An object has its names in an order of its own, where they are numbers.
  const contents = Object.keys(sizes).map(name => files.get(name) ?? new Blob());
  return {
    method: 'POST',
    headers: {
      'Content-Type': 'application/octet-stream',
      'Inference-Header-Content-Length': String(head.length)
    },
    body: new Blob([head, ...contents])
  };
}
