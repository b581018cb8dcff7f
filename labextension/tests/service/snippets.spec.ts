import { expect, test } from 'vitest';
import { curl, python } from '../../src/service/snippets';
import { model } from '../fixtures';

test('a curl request with one row of zeros', () => {
  expect(curl('http://127.0.0.1:1', '/data/token', model())).toBe(
    [
      'curl -H "Authorization: Bearer $(cat /data/token)" -H "Content-Type: application/json" \\',
      `     -d '{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":[0,0,0,0]}]}' \\`,
      '     http://127.0.0.1:1/v2/models/digits/infer'
    ].join('\n')
  );
});

test('the token lies where it may', () => {
  expect(curl('u', "/my data/o'token", model())).toContain(`$(cat '/my data/o'\\''token')`);
  expect(curl('u', '', model())).toContain('$(cat TOKEN_FILE)');
});

test('an image does not go into a line of shell', () => {
  const inputs = [{ name: 'x', datatype: 'FP32', shape: [-1, 3, 224, 224] }];
  expect(curl('u', '', model({ inputs }))).toContain('-d @request.json');
});

test('a call from Python with one input takes an array', () => {
  expect(python(model())).toBe(
    'import numpy as np\nimport workbench\n\nwb = workbench.connect()\nwb["digits"](np.zeros((1, 4), np.float32))'
  );
});

test('a call with several inputs takes them by name', () => {
  const inputs = [
    { name: 'ids', datatype: 'INT64', shape: [-1] },
    { name: 'text', datatype: 'BYTES', shape: [-1, 1] }
  ];
  expect(python(model({ inputs }))).toContain(
    'wb["digits"]({"ids": np.zeros((1,), np.int64), "text": np.full((1, 1), "", dtype=object)})'
  );
});
