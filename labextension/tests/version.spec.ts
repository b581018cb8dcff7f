import { expect, test } from 'vitest';
import manifest from '../package.json';
import { VERSION } from '../src/version';

test('the version in the code is that of the package', () => {
  expect(VERSION).toBe(manifest.version);
});
