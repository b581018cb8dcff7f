/** Frames as a server sends them, for tests: each takes what differs. */

import type {
  IDetail,
  IDetailColumns,
  IFigures,
  IHistory,
  IModelFigures
} from '../../src/service/wire';
import { figures } from '../fixtures';

export function tick(
  time: number,
  differs: Partial<IModelFigures> = {},
  detail: IDetail | null = null,
  epoch = 'a',
  interval_s = 0.25
): IFigures {
  return {
    type: 'figures',
    epoch,
    sequence: 1,
    time,
    interval_s,
    process: { cpu: 0.5, resident_bytes: 1e8 },
    models: { digits: figures(differs) },
    ...(detail ? { detail: { digits: detail } } : {})
  };
}

/** Each point has its own time as its rate. */
export function history(
  time: number[],
  differs: Partial<IDetailColumns> = {},
  epoch = 'a'
): IHistory {
  const ones = time.map(() => 1);
  return {
    type: 'history',
    epoch,
    models: {
      digits: {
        time,
        requests_per_s: time,
        p50_s: ones,
        p99_s: ones,
        queued: ones,
        errors_per_s: ones,
        ...differs
      }
    }
  };
}

/** Whole numbers and steps between. */
export function range(from: number, to: number, step = 1): number[] {
  return Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => from + i * step);
}
