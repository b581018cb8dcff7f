import { Signal } from '@lumino/signaling';
import { expect, test } from 'vitest';
import schema from '../../schema/panel.json';
import { DEFAULTS, settingsOf } from '../../src/ui/settings';

test('the defaults are those of the schema', () => {
  const inSchema = Object.entries(schema.properties).map(([name, { default: value }]) => [
    name,
    value
  ]);
  expect(DEFAULTS).toEqual(Object.fromEntries(inSchema));
});

test('without a registry, or with one that fails, the defaults hold', async () => {
  expect((await settingsOf(null)).composite).toEqual(DEFAULTS);
});

test('what the user sets wins', async () => {
  const loaded = { composite: { confirmStop: false }, changed: new Signal({}) };
  const settings = await settingsOf({ load: async () => loaded } as never);
  expect(settings.composite).toEqual({ ...DEFAULTS, confirmStop: false });
});
