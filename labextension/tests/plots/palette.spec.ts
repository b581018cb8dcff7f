import { describe, expect, test } from 'vitest';
import { channels, HUES, INKS, luminance } from '../../src/plots/palette';

const GROUNDS = { light: ['#ffffff', '#f5f5f5'], dark: ['#111111', '#212121', '#1e1e1e'] } as const;

/** What each eye sees of linear light: Machado, Oliveira and Fernandes 2009, complete loss. */
const EYES: Record<string, readonly (readonly number[])[]> = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1]
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998]
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881]
  ]
};

/** Colours that stand beside each other in one picture. */
const TOGETHER = [
  ['p50', 'p95', 'p99'],
  ['queue', 'batch', 'compute', 'split', 'encode'],
  ['receive', 'decode', 'queue'],
  ['split', 'encode', 'send'],
  ['idle', 'full', 'delay', 'shape']
] as const;

function contrast(a: string, b: string): number {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

/** How a colour looks to an eye, in OKLab. */
function seen(colour: string, eye: readonly (readonly number[])[]): number[] {
  const linear = channels(colour).map(v =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
  );
  const times = (matrix: readonly (readonly number[])[], vector: readonly number[]) =>
    matrix.map(row => row.reduce((sum, each, i) => sum + each * (vector[i] as number), 0));
  const light = times(eye, linear).map(v => Math.min(1, Math.max(0, v)));
  const cones = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005]
    ],
    light
  ).map(Math.cbrt);
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766]
    ],
    cones
  );
}

function distance(a: readonly number[], b: readonly number[]): number {
  return Math.hypot(...a.map((value, i) => value - (b[i] as number)));
}

describe.each(['light', 'dark'] as const)('in the %s', theme => {
  test.each(GROUNDS[theme])('every colour stands out from %s', ground => {
    for (const [hue, colour] of Object.entries(HUES[theme])) {
      expect(contrast(colour, ground), hue).toBeGreaterThanOrEqual(3);
    }
  });

  test.each(Object.keys(EYES))('neighbours are told apart by %s sight', name => {
    const eye = EYES[name] as readonly (readonly number[])[];
    for (const inks of TOGETHER) {
      inks.forEach((one, i) =>
        inks.slice(i + 1).forEach(other => {
          const [a, b] = [HUES[theme][INKS[one]], HUES[theme][INKS[other]]];
          expect(distance(seen(a, eye), seen(b, eye)), `${one} and ${other}`).toBeGreaterThan(0.08);
        })
      );
    }
  });
});

test.each([
  ['#fff', 1],
  ['#000000', 0],
  ['rgb(255, 255, 255)', 1],
  ['rgba(0, 0, 0, 0.87)', 0],
  ['white', 1]
])('%s is as light as %d', (colour, light) => {
  expect(luminance(colour)).toBeCloseTo(light);
});
