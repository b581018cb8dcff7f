/** The form for a model's settings: what is typed, its meaning and its errors. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';

export type Value = number | string | readonly number[];

/** The settings to send; a list is a text with commas. */
export type Settings = Readonly<Record<string, number | string>>;

export interface IModelSetting {
  readonly name: string;
  readonly kind: 'count' | 'number' | 'choice' | 'sizes' | 'device' | 'memory' | 'versions';
  readonly default: Value;
  /** Whether a change is applied without a reload. */
  readonly live: boolean;
  /** The range of a count or number, in the unit that is sent. */
  readonly range?: readonly [low: number, high: number];
  readonly choices?: readonly string[];
  readonly unit?: 'ms' | 's' | 'MiB';
  /** Whether it is rarely used and shown on demand only. */
  readonly seldom?: boolean;
}

/** The table of docs/settings.md, "A model"; a test compares it with the service's own. */
// prettier-ignore
export const MODEL_SETTINGS: readonly IModelSetting[] = [
  { name: 'max_batch_size', kind: 'count', default: 64, live: true, range: [1, 65536] },
  { name: 'max_queue_delay_s', kind: 'number', default: 0, live: true, range: [0, 10], unit: 'ms' },
  { name: 'instances', kind: 'count', default: 1, live: true, range: [1, 256] },
  { name: 'max_queue_size', kind: 'count', default: 1024, live: true, range: [1, 1000000] },
  { name: 'queue_timeout_s', kind: 'number', default: 0, live: true, range: [0, 86400], unit: 's' },
  { name: 'device', kind: 'device', default: 'auto', live: false },
  { name: 'runners', kind: 'choice', default: 'auto', live: false, choices: ['auto', 'latency', 'throughput'] },
  { name: 'batching', kind: 'choice', default: 'auto', live: false, choices: ['auto', 'proved', 'always', 'never'] },
  { name: 'batch_sizes', kind: 'sizes', default: [], live: true, seldom: true },
  { name: 'preferred_batch_sizes', kind: 'sizes', default: [], live: true, seldom: true },
  { name: 'cache', kind: 'memory', default: 'off', live: true },
  { name: 'versions', kind: 'versions', default: 'latest:1', live: true, seldom: true },
  { name: 'cache_ttl', kind: 'number', default: 60, live: true, range: [0, 1000000000], unit: 's', seldom: true },
  { name: 'cache_scope', kind: 'choice', default: 'share', live: true, choices: ['share', 'shared'], seldom: true },
  { name: 'intra_op_threads', kind: 'count', default: 0, live: false, range: [0, 1024], seldom: true },
  { name: 'device_share', kind: 'number', default: 1, live: true, range: [0.01, 100], seldom: true },
  { name: 'max_state_mib', kind: 'count', default: 1024, live: true, range: [1, 1000000], unit: 'MiB', seldom: true },
  { name: 'breaker_failure_rate', kind: 'number', default: 0.5, live: true, range: [0, 1], seldom: true },
  { name: 'breaker_min_calls', kind: 'count', default: 20, live: true, range: [1, 1000000], seldom: true },
  { name: 'breaker_window_s', kind: 'number', default: 30, live: true, range: [0.1, 3600], unit: 's', seldom: true },
  { name: 'breaker_slow_call_s', kind: 'number', default: 0, live: true, range: [0, 86400], unit: 's', seldom: true },
  { name: 'breaker_open_s', kind: 'number', default: 5, live: true, range: [0.1, 3600], unit: 's', seldom: true },
  { name: 'fallback', kind: 'choice', default: 'none', live: true, choices: ['none', 'previous'], seldom: true },
  { name: 'gpu_memory_limit_mib', kind: 'count', default: 0, live: false, range: [0, 1000000], unit: 'MiB', seldom: true },
  { name: 'call_timeout_s', kind: 'number', default: 30, live: false, range: [0.01, 86400], unit: 's', seldom: true },
  { name: 'worker_memory_mib', kind: 'count', default: 0, live: false, range: [0, 1048576], unit: 'MiB', seldom: true },
  { name: 'worker_output_mib', kind: 'count', default: 256, live: false, range: [1, 1048576], unit: 'MiB', seldom: true },
  { name: 'priority_levels', kind: 'count', default: 3, live: true, range: [1, 16], seldom: true },
  { name: 'default_priority', kind: 'count', default: 2, live: true, range: [1, 16], seldom: true },
  { name: 'priority_step_s', kind: 'number', default: 0.1, live: true, range: [0, 60], unit: 's', seldom: true }
];

/** The typed texts by setting; other settings are unchanged. */
export type Typed = ReadonlyMap<string, string>;

export interface IChanges {
  readonly settings: Settings;
  /** Error messages by setting. */
  readonly wrong: ReadonlyMap<string, string>;
  /** Whether the model is reloaded for the changes, in the background. */
  readonly reloads: boolean;
}

/** Formats a value in the unit of its setting. */
export function formatValue(setting: IModelSetting, value: unknown): string {
  if (Array.isArray(value)) {
    return value.join(', ');
  }
  if (typeof value === 'number') {
    return String(setting.unit === 'ms' ? tidy(value * 1000) : value);
  }
  return typeof value === 'string' ? value : '';
}

/** The changes to send: the typed values that differ from the current ones or defaults. */
export function changes(
  trans: TranslationBundle,
  typed: Typed,
  now: Readonly<Record<string, unknown>>
): IChanges {
  const settings: Record<string, number | string> = {};
  const wrong = new Map<string, string>();
  let reloads = false;
  for (const setting of MODEL_SETTINGS) {
    const text = typed.get(setting.name)?.trim();
    if (text === undefined || text === formatValue(setting, currentValue(setting, now))) {
      continue;
    }
    const value = parsed(setting, text);
    if (value === null) {
      wrong.set(setting.name, expected(trans, setting));
    } else if (formatValue(setting, value) !== formatValue(setting, currentValue(setting, now))) {
      settings[setting.name] = value;
      reloads ||= !setting.live;
    }
  }
  return { settings, wrong, reloads };
}

/** The texts that reset every setting to its default. */
export function defaults(now: Readonly<Record<string, unknown>>): Typed {
  return new Map(
    MODEL_SETTINGS.filter(
      setting =>
        formatValue(setting, currentValue(setting, now)) !== formatValue(setting, setting.default)
    ).map(setting => [setting.name, formatValue(setting, setting.default)])
  );
}

/** The current value of a setting, else its default. */
export function currentValue(
  setting: IModelSetting,
  now: Readonly<Record<string, unknown>>
): unknown {
  return now[setting.name] ?? setting.default;
}

/** Parses the text of a setting; null if it is invalid. */
function parsed(setting: IModelSetting, text: string): number | string | null {
  switch (setting.kind) {
    case 'choice':
      return setting.choices?.includes(text) ? text : null;
    case 'device':
      return /^(auto|cpu|cuda(:\d{1,2})?)$/.test(text) ? text : null;
    case 'memory':
      return /^(off|[1-9]\d{0,5}(\.\d{1,3})? ?[kmg]i?b)$/i.test(text) ? text : null;
    case 'versions':
      return /^(latest(:[1-9]\d{0,3})?|all|specific:[1-9]\d{0,8}(,[1-9]\d{0,8}){0,99})$/.test(text)
        ? text
        : null;
    case 'sizes':
      // Sorted and without duplicates, as the service stores them.
      return /^[\d,\s]*$/.test(text)
        ? [...new Set(text.match(/\d+/g)?.map(Number))].sort((a, b) => a - b).join(', ')
        : null;
    default: {
      if (text === '') {
        return formatValue(setting, setting.default) === '' ? null : Number(setting.default);
      }
      const number = tidy(Number(text) / (setting.unit === 'ms' ? 1000 : 1));
      const [low, high] = setting.range ?? [-Infinity, Infinity];
      const fits = number >= low && number <= high;
      return fits && (setting.kind !== 'count' || Number.isInteger(number)) ? number : null;
    }
  }
}

function expected(trans: TranslationBundle, setting: IModelSetting): string {
  const [low = 0, high = 0] = (setting.range ?? []).map(n =>
    tidy(n * (setting.unit === 'ms' ? 1000 : 1))
  );
  switch (setting.kind) {
    case 'count':
      return trans.__('A whole number from %1 to %2', low, high);
    case 'number':
      return trans.__('A number from %1 to %2', low, high);
    case 'sizes':
      return trans.__('Whole numbers, as 1, 8, 32');
    case 'device':
      return trans.__('auto, cpu, cuda or cuda:1');
    case 'memory':
      return trans.__('off, or a size as 64MB or 1GiB');
    case 'versions':
      return trans.__('latest:2, all, or specific:1,3');
    default:
      return trans.__('One of %1', setting.choices?.join(', ') ?? '');
  }
}

/** Rounds away binary fractions: 0.002 s are 2 ms. */
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

export interface ISettingLabel {
  readonly label: string;
  readonly help: string;
}

/** The label of a setting and its help text. */
export function settingLabel(trans: TranslationBundle, name: string): ISettingLabel {
  switch (name) {
    case 'max_batch_size':
      return {
        label: trans.__('Largest batch'),
        help: trans.__('The most rows in one batch, and in one request')
      };
    case 'max_queue_delay_s':
      return {
        label: trans.__('Batch delay'),
        help: trans.__('How long a batch may wait to grow while a runner is free; 0 never waits')
      };
    case 'instances':
      return {
        label: trans.__('Instances'),
        help: trans.__('Runner threads, one batch each at a time; 1 leaves it to “Runners”')
      };
    case 'max_queue_size':
      return {
        label: trans.__('Longest queue'),
        help: trans.__('Requests that may wait for a runner; one more is refused at once')
      };
    case 'queue_timeout_s':
      return {
        label: trans.__('Longest wait'),
        help: trans.__('How long a request may wait for a runner; 0 is as long as it takes')
      };
    case 'device':
      return {
        label: trans.__('Device'),
        help: trans.__('auto (CUDA if it works, else the CPU), cpu, cuda or cuda:1')
      };
    case 'versions':
      return {
        label: trans.__('Versions'),
        help: trans.__(
          'Which stay loaded when another one takes over: latest:2, all, or specific:1,3'
        )
      };
    case 'runners':
      return {
        label: trans.__('Runners'),
        help: trans.__(
          'latency: one runner with all cores; throughput: a runner a core; auto: measured at warm-up'
        )
      };
    case 'batching':
      return {
        label: trans.__('Batching'),
        help: trans.__(
          'auto: where the graph proves the rows independent, or a trial does not find otherwise; proved: by the graph only; always: you vouch for it; never'
        )
      };
    case 'batch_sizes':
      return {
        label: trans.__('Batch sizes'),
        help: trans.__('Batches are padded to the next of these sizes; empty: any size')
      };
    case 'preferred_batch_sizes':
      return {
        label: trans.__('Preferred batch sizes'),
        help: trans.__(
          'A batch of one of these sizes runs at once; empty: the sizes measured as fastest'
        )
      };
    case 'cache':
      return {
        label: trans.__('Result cache'),
        help: trans.__('Memory for answers that are given to equal requests without a run; or off')
      };
    case 'cache_ttl':
      return {
        label: trans.__('Cache: time'),
        help: trans.__('How long an answer is kept at most; 0 is until others need its room')
      };
    case 'cache_scope':
      return {
        label: trans.__('Cache: for whom'),
        help: trans.__(
          'share: answers are given to callers of the same share only; shared: to everybody who may call the model'
        )
      };
    case 'intra_op_threads':
      return {
        label: trans.__('Threads of a run'),
        help: trans.__('0: all cores, divided among the instances')
      };
    case 'device_share':
      return {
        label: trans.__('Device share'),
        help: trans.__('How much compute time it gets against other models that want the device')
      };
    case 'max_state_mib':
      return {
        label: trans.__('State memory'),
        help: trans.__(
          'For the states of all sequences, of a model that keeps state between requests'
        )
      };
    case 'breaker_failure_rate':
      return {
        label: trans.__('Breaker: failures'),
        help: trans.__(
          'The part of the latest calls that may fail or be slow before calls are refused for a while; 0 never refuses'
        )
      };
    case 'breaker_min_calls':
      return {
        label: trans.__('Breaker: least calls'),
        help: trans.__('So many calls have to have ended before any is refused')
      };
    case 'breaker_window_s':
      return {
        label: trans.__('Breaker: window'),
        help: trans.__('How far the breaker looks back')
      };
    case 'breaker_slow_call_s':
      return {
        label: trans.__('Breaker: slow call'),
        help: trans.__('A call that takes longer counts as a failure; 0: none does')
      };
    case 'breaker_open_s':
      return {
        label: trans.__('Breaker: pause'),
        help: trans.__('How long calls are refused before a few are let through again')
      };
    case 'fallback':
      return {
        label: trans.__('Breaker: fallback'),
        help: trans.__(
          'previous: the version before stays loaded, and answers calls that are refused; takes effect with the next version'
        )
      };
    case 'gpu_memory_limit_mib':
      return {
        label: trans.__('GPU memory limit'),
        help: trans.__('0: half of what is free when it loads')
      };
    case 'call_timeout_s':
      return {
        label: trans.__('Call timeout'),
        help: trans.__('What one call of a Python function may take')
      };
    case 'worker_memory_mib':
      return {
        label: trans.__('Worker memory'),
        help: trans.__('Of each process of a Python function; 0: half of the machine’s')
      };
    case 'worker_output_mib':
      return {
        label: trans.__('Worker output'),
        help: trans.__('The most that one answer of a Python function may have')
      };
    case 'priority_levels':
      return {
        label: trans.__('Priority levels'),
        help: trans.__('A request’s priority is 1, the highest, up to this')
      };
    case 'default_priority':
      return {
        label: trans.__('Default priority'),
        help: trans.__('The level of a request that names none')
      };
    case 'priority_step_s':
      return {
        label: trans.__('Priority step'),
        help: trans.__('Seconds of waiting that one level is worth')
      };
    default:
      return { label: name, help: '' };
  }
}
