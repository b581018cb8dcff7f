import { Signal } from '@lumino/signaling';
import { nullTranslator } from '@jupyterlab/translation';
import { beforeEach, expect, test, vi } from 'vitest';
import { tellRollouts } from '../../src/versions/rolloutEvents';

const shown = vi.hoisted(() => ({ emit: vi.fn(), dismiss: vi.fn() }));
vi.mock('@jupyterlab/apputils', () => ({ Notification: shown }));

beforeEach(() => vi.clearAllMocks());

const ROOT = 'https://infer-workbench.readthedocs.io/events';

function page() {
  const stream = new Signal<object, object>({});
  const show = vi.fn();
  const events = { stream } as unknown as NonNullable<Parameters<typeof tellRollouts>[0]>;
  tellRollouts(events, nullTranslator.load(''), show);
  const tell = (event: string, told: string, name = 'digits') =>
    stream.emit({ schema_id: `${ROOT}/rollout/v1`, event, name, told });
  return { stream, show, tell };
}

test('each step takes the place of the one before it, and another model has its own', () => {
  const { show, tell } = page();
  shown.emit.mockReturnValueOnce('a').mockReturnValueOnce('b').mockReturnValueOnce('c');
  tell('step', 'version 2: step 1 of 2, 25 %');
  tell('step', 'version 2: step 1 of 1, 100 %', 'iris');
  expect(shown.dismiss).not.toHaveBeenCalled();
  tell('rolled_back', 'version 2: rolled back at 25 %: errors<1% is breached');
  expect(shown.dismiss.mock.calls).toEqual([['a']]);
  const [words, type, options] = shown.emit.mock.calls[2] as [
    string,
    string,
    { autoClose: unknown; actions: { callback: () => void }[] }
  ];
  expect(words).toBe('Rollout of digits, version 2: rolled back at 25 %: errors<1% is breached');
  expect([type, options.autoClose]).toEqual(['error', false]); // it stays until it was seen
  options.actions[0]?.callback();
  expect(show).toHaveBeenCalledWith('digits');
});

test('no other event is told, and a page without a server has none', () => {
  const { stream, tell } = page();
  stream.emit({ schema_id: `${ROOT}/model/v1`, event: 'step', name: 'digits', told: '' });
  tell('another', '');
  expect(shown.emit).not.toHaveBeenCalled();
  expect(() => tellRollouts(undefined, nullTranslator.load(''), vi.fn())).not.toThrow();
});
