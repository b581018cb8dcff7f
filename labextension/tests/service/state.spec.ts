import { describe, expect, test } from 'vitest';
import { type Event, INITIAL, isOnlyRefused, type IView, reduce } from '../../src/service/state';
import type { IModelStatus } from '../../src/service/wire';
import { model, service } from '../fixtures';

function after(...events: Event[]): IView {
  return events.reduce(reduce, INITIAL);
}

describe('what the server says', () => {
  test('the same again changes nothing, so nothing is drawn', () => {
    const view = after(
      { type: 'service', service: service() },
      { type: 'models', models: [model()] },
      { type: 'link', link: { kind: 'live' } }
    );
    expect(reduce(view, { type: 'service', service: service() })).toBe(view);
    expect(reduce(view, { type: 'models', models: [model()] })).toBe(view);
    expect(reduce(view, { type: 'link', link: { kind: 'live' } })).toBe(view);
  });

  test('a model that did not change stays the same object when another does', () => {
    const before = after({
      type: 'models',
      models: [model({ name: 'a' }), model({ name: 'b', state: 'Loading' })]
    });
    const view = reduce(before, {
      type: 'models',
      models: [model({ name: 'a' }), model({ name: 'b' })]
    });
    expect(view.models[0]).toBe(before.models[0]);
    expect(view.models[1]?.state).toBe('Ready');
  });

  test('a model that is gone is dropped', () => {
    const view = after(
      { type: 'models', models: [model({ name: 'a' }), model({ name: 'b' })] },
      { type: 'models', models: [model({ name: 'b' })] }
    );
    expect(view.models.map(({ name }) => name)).toEqual(['b']);
  });

  test('a frame of a kind that is not known is passed over', () => {
    expect(reduce(INITIAL, { type: 'news' } as unknown as Event)).toBe(INITIAL);
    expect(reduce(INITIAL, { type: 'beat' })).toBe(INITIAL);
  });

  test('a lost link keeps what was known', () => {
    const view = after(
      { type: 'models', models: [model()] },
      { type: 'link', link: { kind: 'lost', retryAt: 1, blocked: false } }
    );
    expect(view.models).toHaveLength(1);
  });
});

describe('what the user does', () => {
  test('an act is under way until it ends', () => {
    const view = after({ type: 'begin', place: '', verb: 'stop' });
    expect(view.busy.get('')).toBe('stop');
    expect(reduce(view, { type: 'end', place: '', trouble: '' }).busy.size).toBe(0);
  });

  test('what went wrong stays until dismissed or tried again', () => {
    const failed = after(
      { type: 'begin', place: 'digits', verb: 'unload' },
      { type: 'end', place: 'digits', trouble: 'No.' }
    );
    expect(failed.troubles.get('digits')).toBe('No.');
    expect(reduce(failed, { type: 'dismiss', place: 'digits' }).troubles.size).toBe(0);
    const again = reduce(failed, { type: 'begin', place: 'digits', verb: 'unload' });
    expect(again.troubles.size).toBe(0);
  });
});

describe('loading', () => {
  const request = { name: 'digits', path: 'digits.onnx' };

  test('an attempt goes when it is loaded', () => {
    const view = after({ type: 'load', request });
    expect(view.attempts).toEqual([{ request, trouble: '', forceable: false }]);
    expect(reduce(view, { type: 'loaded', name: 'digits', unchanged: false }).attempts).toEqual([]);
  });

  test('what was loaded is to be revealed until it was; what was there already is not', () => {
    const load: Event = { type: 'load', request };
    const loaded: Event = { type: 'loaded', name: 'digits', unchanged: false };
    const view = after(load, loaded);
    expect(view.toReveal).toBe('digits');
    expect(reduce(view, { type: 'revealed', name: 'digits' }).toReveal).toBeNull();
    expect(reduce(view, { type: 'revealed', name: 'other' })).toBe(view);
    expect(reduce(view, load).toReveal).toBeNull();
    expect(after(load, { ...loaded, unchanged: true }).toReveal).toBeNull();
  });

  test('a refused one stays with its reason until dismissed', () => {
    const view = after(
      { type: 'load', request },
      { type: 'refused', name: 'digits', trouble: 'No.', forceable: true }
    );
    expect(view.attempts).toEqual([{ request, trouble: 'No.', forceable: true }]);
    expect(reduce(view, { type: 'dismiss', place: 'digits' }).attempts).toEqual([]);
  });

  test('another attempt under the same name takes its place', () => {
    const other = { name: 'digits', path: 'other.onnx' };
    const view = after(
      { type: 'load', request },
      { type: 'refused', name: 'digits', trouble: 'No.', forceable: false },
      { type: 'load', request: other }
    );
    expect(view.attempts).toEqual([{ request: other, trouble: '', forceable: false }]);
  });

  test('one that is under way cannot be dismissed', () => {
    const view = after({ type: 'load', request }, { type: 'dismiss', place: 'digits' });
    expect(view.attempts).toHaveLength(1);
  });

  test('a refusal is all there is where nothing but what failed goes by its name', () => {
    const failed = model({ state: 'Failed', routed: false });
    const refused: Event = { type: 'refused', name: 'digits', trouble: 'No.', forceable: false };
    const of = (...models: IModelStatus[]) =>
      isOnlyRefused(
        after({ type: 'load', request }, refused, { type: 'models', models }),
        'digits'
      );
    expect(of(failed)).toBe(true);
    expect(of(failed, model({ name: 'other' }))).toBe(true);
    expect(of(failed, model({ version: '2' }))).toBe(false);
    expect(of()).toBe(false);
    expect(isOnlyRefused(after({ type: 'models', models: [failed] }), 'digits')).toBe(false);
  });

  test('what failed goes with its unload, and stays where that fails', () => {
    const failed = [model({ state: 'Failed', routed: false }), model({ name: 'other' })];
    const view = after(
      { type: 'models', models: failed },
      { type: 'begin', place: 'digits', verb: 'unload' }
    );
    const end = (trouble: string) => reduce(view, { type: 'end', place: 'digits', trouble });
    expect(end('').models.map(({ name }) => name)).toEqual(['other']);
    expect(end('No.').models).toEqual(failed);
  });
});
