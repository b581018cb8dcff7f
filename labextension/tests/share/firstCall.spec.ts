import { Signal } from '@lumino/signaling';
import { nullTranslator } from '@jupyterlab/translation';
import { expect, test, vi } from 'vitest';
import { tellFirstCalls } from '../../src/share/firstCall';

const shown = vi.hoisted(() => ({ info: vi.fn() }));
vi.mock('@jupyterlab/apputils', () => ({ Notification: { info: shown.info } }));

test('the first call of a share is told, and no other event', () => {
  const stream = new Signal<object, object>({});
  const show = vi.fn();
  const events = { stream } as unknown as NonNullable<Parameters<typeof tellFirstCalls>[0]>;
  tellFirstCalls(events, nullTranslator.load(''), show);
  const root = 'https://infer-workbench.readthedocs.io/events';
  stream.emit({ schema_id: `${root}/model/v1`, event: 'loaded', name: 'digits' });
  stream.emit({ schema_id: `${root}/share/v1`, event: 'another' });
  expect(shown.info).not.toHaveBeenCalled();
  stream.emit({
    schema_id: `${root}/share/v1`,
    event: 'first_call',
    label: 'team-a',
    models: ['digits', 'iris']
  });
  expect(shown.info).toHaveBeenCalledTimes(1);
  const [words, options] = shown.info.mock.calls[0] as [
    string,
    { actions: { callback: () => void }[] }
  ];
  expect(words).toBe('team-a made its first call: the share of digits, iris is in use');
  options.actions[0]?.callback();
  expect(show).toHaveBeenCalledTimes(1);
});

test('a page without a server has no such events', () => {
  expect(() => tellFirstCalls(undefined, nullTranslator.load(''), vi.fn())).not.toThrow();
});
