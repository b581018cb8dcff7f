/** What a server says, for tests: each takes what differs. */

import { FIGURES } from '../src/service/figures';
import type { ILoadForm, IOption, IRun, IRunning } from '../src/service/loadtestWire';
import type { IShare, IShareUse } from '../src/service/shareWire';
import type { IRollout } from '../src/service/versionWire';
import type { IModelFigures, IModelStatus, IService, IStatus } from '../src/service/wire';

export function shareUse(differs: Partial<IShareUse> = {}): IShareUse {
  return {
    answered: 0,
    errors: 0,
    rows: 0,
    request_bytes: 0,
    response_bytes: 0,
    p50_s: null,
    p99_s: null,
    ...differs
  };
}

export function share(differs: Partial<IShare> = {}): IShare {
  return {
    id: 's1',
    label: 'team-a',
    models: ['digits'],
    state: 'holds',
    rate: 20,
    row_rate: null,
    quota: null,
    row_quota: null,
    day_requests: 0,
    day_rows: 0,
    max_in_flight: 16,
    max_body: null,
    version: null,
    metrics: false,
    created_at: 1000,
    expires_at: 2000,
    revoked_at: null,
    requests: 0,
    refused: 0,
    in_flight: 0,
    last_seen: null,
    first_call_at: null,
    suspended: {},
    ...shareUse(),
    by_model: {},
    ...differs
  };
}

export function service(differs: Partial<IService> = {}): IService {
  return {
    state: 'Ready',
    reason: '',
    since: 1000,
    version: '0.1.0',
    url: 'http://127.0.0.1:8080',
    pid: 1,
    host: 'here',
    devices: ['cpu'],
    device_words: 'CPU, 2 cores',
    notes: [],
    ...differs
  };
}

export function status(differs: Partial<IStatus> = {}): IStatus {
  return { version: '0.1.0', api: 1, service: service(), available: true, ...differs };
}

export function model(differs: Partial<IModelStatus> = {}): IModelStatus {
  return {
    name: 'digits',
    version: '1',
    state: 'Ready',
    reason: '',
    platform: 'onnxruntime_onnx',
    device: 'cpu',
    inputs: [{ name: 'X', datatype: 'FP32', shape: [-1, 4] }],
    outputs: [{ name: 'label', datatype: 'INT64', shape: [-1] }],
    config: {},
    routed: true,
    max_batch_size: 64,
    batching: '',
    execution: '',
    digest: 'sha256:1',
    size_bytes: 1,
    loaded_at: 1,
    load_s: 0.1,
    queued: 0,
    notes: [],
    ...differs
  };
}

export function rollout(differs: Partial<IRollout> = {}): IRollout {
  return {
    model: 'digits',
    version: '2',
    status: 'running',
    told: '',
    reason: '',
    step: 1,
    steps: [0.25, 1],
    guard: 'errors<1%',
    step_ends_at: 1300,
    changed_at: 1000,
    clauses: [],
    ...differs
  };
}

const IDLE = Object.fromEntries(
  FIGURES.filter(({ key }) => key !== 'cache_ratio').map(({ key }) => [key, 0])
) as unknown as IModelFigures;

export function figures(differs: Partial<IModelFigures> = {}): IModelFigures {
  return {
    ...IDLE,
    requests_per_s: 10,
    rows_per_s: 10,
    errors_per_s: 0,
    p50_s: 0.001,
    p95_s: 0.002,
    p99_s: 0.003,
    queued: 0,
    busy: 0.5,
    ...differs
  };
}

export function run(differs: Partial<IRun> = {}): IRun {
  return {
    run: 'digits-4',
    model: 'digits',
    version: '1',
    kind: 'bench',
    started_at: 1000,
    state: 'done',
    summary: 'digits: 100 requests/s for 10 s',
    answered_per_s: 99.8,
    p50_s: 0.0012,
    p99_s: 0.0045,
    error_share: 0,
    held: true,
    limited: false,
    ...differs
  };
}

export function running(differs: Partial<IRunning> = {}): IRunning {
  return {
    run: 'digits-4',
    model: 'digits',
    summary: 'digits: 100 requests/s for 10 s',
    stopping: false,
    state: 'running',
    elapsed_s: 1,
    total_s: 11,
    done: 100,
    errors: 0,
    rate_per_s: 99.8,
    waiting: 0,
    p50_s: 0.0012,
    p99_s: 0.0045,
    step: '',
    number: 0,
    count: 0,
    ...differs
  };
}

function option(
  name: string,
  type: IOption['type'],
  text: string,
  more: Partial<IOption> = {}
): IOption {
  return {
    name,
    type,
    labels: [name],
    text,
    hint: '',
    range: '',
    minimum: 0,
    zero: false,
    ...more
  };
}

const duration = option('duration', 'duration', '10s');

/** A form with an option of each type. */
export const loadForm: ILoadForm = {
  patterns: [
    {
      kind: 'constant',
      title: 'Rate',
      hint: 'Requests a second',
      fields: [
        option('rate', 'number', '200', { range: 'above 0' }),
        option('poisson', 'flag', ''),
        duration
      ],
      sweeps: true
    },
    {
      kind: 'users',
      title: 'Users',
      hint: 'Users who wait',
      fields: [
        option('users', 'whole', '32', { minimum: 1, zero: true, range: '1 to 4,096' }),
        option('think', 'duration', '0', { zero: true }),
        duration
      ],
      sweeps: true
    },
    {
      kind: 'stairs',
      title: 'Stairs',
      hint: 'Ever more requests',
      fields: [
        option('step', 'pair', '50', { labels: ['First', 'Added'] }),
        option('every', 'duration', '3s', { labels: ['Length of a stair'] })
      ],
      sweeps: true
    },
    {
      kind: 'replay',
      title: 'Replay',
      hint: 'As recorded',
      fields: [
        option('replay', 'times', '', { hint: 'Recorded arrival times' }),
        option('speed', 'number', '1')
      ],
      sweeps: true
    },
    {
      kind: 'search',
      title: 'Find the limit',
      hint: 'Searches the highest rate',
      fields: [option('slo', 'text', 'p99<20ms', { hint: 'What must hold' }), duration],
      sweeps: false
    }
  ],
  options: [
    option('rows', 'whole', '1', { minimum: 1, zero: true, range: '1 or more' }),
    option('warm_up', 'duration', '1s', { zero: true })
  ]
};
