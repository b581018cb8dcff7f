/** Formats numbers for people. An unknown value is a dash. */

export const UNKNOWN = '–';

/** Three significant digits, and all before the point: 0.123, 1.23, 12.3, 123, 1,234. */
function significant(value: number): string {
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : value >= 0.9995 ? 2 : 3;
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}

/** A duration: "850 µs", "1.23 ms", "1.5 s", "2 min". */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) {
    return UNKNOWN;
  }
  const abs = Math.abs(seconds);
  if (abs >= 120) {
    return `${significant(seconds / 60)} min`;
  }
  if (abs >= 0.9995) {
    return `${significant(seconds)} s`;
  }
  if (abs >= 0.0009995) {
    return `${significant(seconds * 1e3)} ms`;
  }
  return abs === 0 ? '0 ms' : `${Math.round(seconds * 1e6)} µs`;
}

/** A rate without its unit: "0", "0.4", "12.5", "1,240", "12.3 k". */
export function rate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined || !Number.isFinite(perSecond)) {
    return UNKNOWN;
  }
  if (perSecond >= 9_999.5) {
    return `${significant(perSecond / 1e3)} k`;
  }
  // One decimal: the window is too short for more.
  return perSecond < 9.95
    ? String(Math.round(perSecond * 10) / 10)
    : significant(Math.round(perSecond));
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** A size in decimal units: "0 B", "85.3 MB". */
export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined || !Number.isFinite(count)) {
    return UNKNOWN;
  }
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${significant(value)} ${UNITS[unit]}`;
}

/** Processor use: 0.42 is "42 %" of one core. */
export function processor(cores: number | null | undefined): string {
  if (cores === null || cores === undefined || !Number.isFinite(cores)) {
    return UNKNOWN;
  }
  return `${Math.round(cores * 100)} %`;
}

/** A share of a whole: "0 %", "0.3 %", "12 %". */
export function share(part: number | null | undefined, whole: number | null | undefined): string {
  if (part === null || part === undefined || whole === null || whole === undefined) {
    return UNKNOWN;
  }
  const percent = part <= 0 ? 0 : whole > part ? (100 * part) / whole : 100;
  return `${percent > 0 && percent < 10 ? Math.max(0.1, Math.round(percent * 10) / 10) : Math.round(percent)} %`;
}

/** A local time of day: "14:03", "14:03:20", "14:03:20.125". */
export function clock(
  time: number,
  digits: 'minutes' | 'seconds' | 'milliseconds' = 'seconds'
): string {
  const date = new Date(Math.round(time * 1000));
  const two = (value: number) => String(value).padStart(2, '0');
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (digits === 'minutes') {
    return minutes;
  }
  const seconds = `${minutes}:${two(date.getSeconds())}`;
  return digits === 'seconds'
    ? seconds
    : `${seconds}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** Shortens a log line: local time of day, and the level only if it is not INFO. */
export function logLine(line: string): string {
  const [, iso, level, rest] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) +([A-Z]+) +(.*)$/s.exec(line) ?? [];
  if (iso === undefined) {
    return line;
  }
  const time = clock(Date.parse(iso) / 1000);
  return level === 'INFO' ? `${time} ${rest}` : `${time} ${level} ${rest}`;
}

/** Parses "restoring models, 3 of 20 done" to [3, 20]; null if there are no counts. */
export function progress(words: string): readonly [done: number, all: number] | null {
  const [, done, all] = /(\d+) of (\d+)/.exec(words) ?? [];
  return all === undefined || Number(all) === 0 ? null : [Number(done), Number(all)];
}

/** Splits an address where a line may break: ["127.0.0.1", ":8080"]. */
export function address(url: string): readonly [host: string, port: string] {
  const [, host = '', port = ''] = /^(?:https?:\/\/)?(.*?)(:\d+)?\/?$/.exec(url) ?? [];
  return [host, port];
}

/** The time of day of a moment of today, else the day and the minute. All in Unix seconds. */
export function moment(time: number | null, now = Date.now() / 1000): string {
  if (time === null) {
    return UNKNOWN;
  }
  const date = new Date(time * 1000);
  if (date.toDateString() === new Date(now * 1000).toDateString()) {
    return clock(time);
  }
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${clock(time, 'minutes')}`;
}
