import { describe, expect, test } from 'vitest';
import { parseVisible, visible } from '../../src/service/visibleText';

const HOSTILE = 'x\r\u0085\u2028\u001b[2J\u009b1m\u202egnp.exe\u2066\u200b\ud800\u{e0041}';

describe('visible', () => {
  test('harmful characters become their escapes', () => {
    expect(visible(HOSTILE)).toBe(
      'x\\u000d\\u0085\\u2028\\u001b[2J\\u009b1m\\u202egnp.exe\\u2066\\u200b\\ud800\\udb40\\udc41'
    );
  });

  test.each(['', 'Zürich ☃', '数字 モデル', 'עברית', 'a\u00a0b', '😀', 'two\nlines\tand a tab'])(
    '%j stays',
    text => {
      expect(visible(text)).toBe(text);
    }
  );
});

describe('parseVisible', () => {
  test('every text is fit to be shown, however JSON wrote it, but for tensors', () => {
    const sent = {
      models: [{ reason: HOSTILE, inputs: [{ name: HOSTILE }], notes: [HOSTILE] }],
      outputs: [{ name: 'y', data: [[HOSTILE]] }],
      count: 3,
      none: null
    };
    const escaped = JSON.stringify(sent).replace(
      /[\u0080-\uffff]/g,
      char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
    );
    for (const text of [JSON.stringify(sent), escaped]) {
      expect(parseVisible(text)).toEqual({
        models: [
          {
            reason: visible(HOSTILE),
            inputs: [{ name: visible(HOSTILE) }],
            notes: [visible(HOSTILE)]
          }
        ],
        outputs: [{ name: 'y', data: [[HOSTILE]] }],
        count: 3,
        none: null
      });
    }
  });

  test('figures are parsed as they are', () => {
    expect(parseVisible('{"models": {"digits": {"p99_s": 1e-3}}}')).toEqual({
      models: { digits: { p99_s: 0.001 } }
    });
    expect(() => parseVisible('{')).toThrow();
  });
});
