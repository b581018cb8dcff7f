import type { Colours } from './contract';

/** The stages of a request, in the order of its way: docs/metrics.md. */
export const WAY = [
  'receive',
  'decode',
  'queue',
  'batch',
  'compute',
  'split',
  'encode',
  'send'
] as const;

/**
 * Hues that people with any kind of colour vision tell apart (after Okabe and Ito), in two versions, each with a
 * contrast of 3 and more to the background: tests/plots/palette.spec.ts holds them to it. workbench/client/palette.py
 * says the same for what Python draws: tests/client/test_palette.py holds the two together.
 */
const LIGHT = {
  blue: '#0163b3',
  sky: '#3495d0',
  green: '#0d794d',
  orange: '#bd8200',
  red: '#b64800',
  purple: '#702868',
  grey: '#7d7d7d',
  brown: '#382000',
  olive: '#505800',
  violet: '#8820e8'
};

const DARK: typeof LIGHT = {
  blue: '#2c96fb',
  sky: '#8fd0ff',
  green: '#55d99e',
  orange: '#f0b23e',
  red: '#f86a3f',
  purple: '#d05890',
  grey: '#a8a8a8',
  brown: '#b06860',
  olive: '#d8f090',
  violet: '#9070c8'
};

export const HUES = { light: LIGHT, dark: DARK } as const;

export type Hue = keyof typeof LIGHT;

/** The colour of each thing, in all plots. */
export const INKS = {
  throughput: 'blue',
  due: 'grey',
  p50: 'blue',
  p90: 'sky',
  p95: 'orange',
  p99: 'red',
  max: 'grey',
  queued: 'purple',
  errors: 'red',

  receive: 'grey',
  decode: 'brown',
  queue: 'orange',
  batch: 'sky',
  compute: 'blue',
  split: 'green',
  encode: 'purple',
  send: 'olive',
  other: 'grey',
  unsent: 'red',
  network: 'violet',

  idle: 'sky',
  full: 'green',
  delay: 'orange',
  shape: 'purple',
  alone: 'grey',
  drain: 'red'
} as const satisfies Record<string, Hue>;

export type Ink = keyof typeof INKS;

/** All colours that a plot needs, as a canvas takes them. */
export interface IPalette {
  readonly dark: boolean;
  readonly text: string;
  readonly quiet: string;
  readonly grid: string;
  readonly ground: string;
  readonly font: string;
  /** The colour of an ink; grey for an unknown reason. */
  ink(name: string): string;
}

/** The colours around `node`: from the variables of JupyterLab or VS Code, else from computed styles. */
export function palette(node: Element, colours: Colours = {}): IPalette {
  const style = getComputedStyle(node);
  const variable = (...names: string[]) =>
    names.map(name => style.getPropertyValue(name).trim()).find(value => value !== '');
  const ground =
    colours['ground'] ??
    variable('--jp-layout-color1', '--vscode-editor-background') ??
    under(node);
  const dark = luminance(ground) < 0.4;
  const hues = dark ? DARK : LIGHT;
  return {
    dark,
    ground,
    text:
      colours['text'] ??
      variable('--jp-ui-font-color1', '--vscode-foreground') ??
      (dark ? '#eeeeee' : '#212121'),
    quiet:
      colours['quiet'] ??
      variable('--jp-ui-font-color2', '--vscode-descriptionForeground') ??
      (dark ? '#b5b5b5' : '#616161'),
    grid: colours['grid'] ?? (dark ? 'rgba(255, 255, 255, 0.13)' : 'rgba(0, 0, 0, 0.10)'),
    font: variable('--jp-ui-font-family') ?? style.fontFamily,
    ink: name => colours[name] ?? hues[INKS[name as Ink] ?? 'grey']
  };
}

/** The first background below a node that is not transparent. */
function under(node: Element): string {
  for (let each: Element | null = node; each !== null; each = each.parentElement) {
    const colour = getComputedStyle(each).backgroundColor;
    if (colour && colour !== 'transparent' && !/, 0\)$/.test(colour)) {
      return colour;
    }
  }
  return '#ffffff';
}

/** Relative luminance of WCAG 2: 0 is black, 1 is white. An unknown notation counts as white. */
export function luminance(colour: string): number {
  const [r, g, b] = channels(colour).map(value =>
    value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  ) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Red, green and blue, each 0 to 1. */
export function channels(colour: string): readonly [number, number, number] {
  const hex = /^#([0-9a-f]{3,8})$/i.exec(colour.trim())?.[1];
  if (hex !== undefined) {
    const wide = hex.length < 6 ? [...hex].map(digit => digit + digit).join('') : hex;
    const at = (i: number) => parseInt(wide.slice(i, i + 2), 16) / 255;
    return [at(0), at(2), at(4)];
  }
  const numbers = /^rgba?\(([^)]*)\)$/
    .exec(colour.trim())?.[1]
    ?.match(/[\d.]+/g)
    ?.map(Number);
  if (numbers === undefined || numbers.length < 3) {
    const named: Record<string, number> = { white: 1, black: 0 };
    const value = named[colour.trim().toLowerCase()] ?? 1;
    return [value, value, value];
  }
  return [(numbers[0] ?? 0) / 255, (numbers[1] ?? 0) / 255, (numbers[2] ?? 0) / 255];
}
