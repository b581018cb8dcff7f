import { describe, expect, test } from 'vitest';
import { ENGLISH } from '../../src/plots/contract';
import type { IVersionEvent } from '../../src/service/versionWire';
import { doerText, loadedByText, loadOf, replacingQuestion } from '../../src/versions/loader';

const AGENT = 'infer-workbench/0.1.0 (kernel of a b.ipynb; pid 12)';

function event(differs: Partial<IVersionEvent> = {}): IVersionEvent {
  return { at: 1000, who: 'owner', action: 'load', detail: 'version 1', agent: AGENT, ...differs };
}

test('the load that a version came by is the last that made it', () => {
  const two = event({ detail: 'version 2, in place of 1', at: 2000 });
  const history = [
    event(),
    two,
    event({ detail: 'version 2, unchanged', at: 3000 }),
    event({ detail: 'version 21, in place of 2', at: 4000 }),
    event({ action: 'route', detail: 'version 2=10%', at: 5000 })
  ];
  expect(loadOf(history, '2')).toBe(two);
  expect(loadOf(history, '3')).toBeNull();
});

describe('who loaded it', () => {
  test('is said in words', () => {
    const words = (agent: string, who = 'owner') => doerText(ENGLISH, event({ agent, who }));
    expect(words(AGENT)).toBe('a b.ipynb');
    expect(words('infer-workbench/0.1.0 (panel; pid 3)')).toBe('the panel');
    expect(words('infer-workbench/0.1.0 (command line; pid 3)')).toBe('the command line');
    expect(words('infer-workbench/0.1.0 (kernel; pid 3)')).toBe('a notebook');
    expect(words('infer-workbench/0.1.0 (Python; pid 3)')).toBe('a Python program');
    expect(words('curl/8.5.0')).toBe('its owner');
    expect(words('curl/8.5.0', 'team-a')).toBe('team-a');
    expect(loadedByText(ENGLISH, event())).toMatch(/^Loaded by a b\.ipynb, /);
  });

  test('is asked about only where it was a notebook', () => {
    const asked = (load: IVersionEvent | null) => replacingQuestion(ENGLISH, 'digits', '3', load);
    expect(asked(event())).toMatch(/^Version 3 of digits was loaded by a b\.ipynb, /);
    expect(asked(event({ agent: 'infer-workbench/0.1.0 (panel; pid 3)' }))).toBeNull();
    expect(asked(null)).toBeNull();
  });
});
