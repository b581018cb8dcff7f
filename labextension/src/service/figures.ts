import type { ITrans } from '../plots/contract';
import * as format from '../ui/format';
import type { IModelFigures } from './wire';

/** How the values of several ticks become one: rates are averaged, and a peak that lasted one tick stays visible. */
export type Merge = 'mean' | 'last' | 'peak';

/** One figure of a model, as columns of this page have it. */
export interface IFigure {
  readonly key: Exclude<keyof IModelFigures, 'last_error'>;
  /** Averaged over the last two seconds where it is shown as a number. */
  readonly smoothed?: boolean;
  /** Present where sparklines keep it: how ticks of one second are merged. */
  readonly sparkline?: Merge;
  /** Present where live plots keep it: how ticks of one point are merged. */
  readonly plot?: 'mean' | 'peak';
  /** Present where a model's card shows it. */
  readonly card?: {
    /** Its `data-figure`. */
    readonly name: string;
    readonly label: (trans: ITrans) => string;
    readonly hint: (trans: ITrans) => string;
    readonly text: (figures: IModelFigures) => string;
    readonly isBad?: (figures: IModelFigures) => boolean;
    /** Hidden where it says no; always shown where this is absent. */
    readonly isShown?: (figures: IModelFigures) => boolean;
  };
}

/** All figures of a model, one entry each, in the order of its card. */
export const FIGURES = [
  {
    key: 'requests_per_s',
    smoothed: true,
    sparkline: 'mean',
    plot: 'mean',
    card: {
      name: 'requests_per_s',
      label: trans => trans.__('req/s'),
      hint: trans => trans.__('Requests that ended, a second'),
      text: ({ requests_per_s }) => format.rate(requests_per_s)
    }
  },
  { key: 'rows_per_s', plot: 'mean' },
  {
    key: 'queued',
    sparkline: 'peak',
    plot: 'peak',
    card: {
      name: 'queued',
      label: trans => trans.__('queue'),
      hint: trans => trans.__('Requests that wait'),
      text: ({ queued }) => format.rate(queued)
    }
  },
  {
    key: 'errors_per_s',
    smoothed: true,
    sparkline: 'mean',
    plot: 'mean',
    card: {
      name: 'errors',
      label: trans => trans.__('errors'),
      hint: trans => trans.__('Of the requests that ended, those that ended in an error'),
      text: ({ errors_per_s, requests_per_s }) => format.share(errors_per_s, requests_per_s),
      isBad: ({ errors_per_s }) => errors_per_s > 0
    }
  },
  {
    key: 'p50_s',
    sparkline: 'last',
    plot: 'mean',
    card: {
      name: 'p50_s',
      label: trans => trans.__('p50'),
      hint: trans => trans.__('Half of the requests took no longer'),
      text: ({ p50_s }) => format.duration(p50_s)
    }
  },
  {
    key: 'p95_s',
    plot: 'peak',
    card: {
      name: 'p95_s',
      label: trans => trans.__('p95'),
      hint: trans => trans.__('95 of 100 requests took no longer'),
      text: ({ p95_s }) => format.duration(p95_s)
    }
  },
  {
    key: 'p99_s',
    sparkline: 'peak',
    plot: 'peak',
    card: {
      name: 'p99_s',
      label: trans => trans.__('p99'),
      hint: trans => trans.__('99 of 100 requests took no longer'),
      text: ({ p99_s }) => format.duration(p99_s)
    }
  },
  {
    key: 'cache_ratio',
    card: {
      name: 'cache_ratio',
      label: trans => trans.__('cached'),
      hint: trans =>
        trans.__('Of the requests that the result cache was asked for, those that were not run'),
      text: ({ cache_ratio }) => format.share(cache_ratio, 1),
      isShown: ({ cache_ratio }) => cache_ratio !== undefined
    }
  }
] as const satisfies readonly IFigure[];

type Keep<Place extends 'smoothed' | 'sparkline' | 'plot'> = Extract<
  (typeof FIGURES)[number],
  Readonly<Record<Place, unknown>>
>;

/** The figures that one place of the page has. */
function having<Place extends 'smoothed' | 'sparkline' | 'plot'>(place: Place): Keep<Place>[] {
  return FIGURES.filter((figure): figure is Keep<Place> => place in figure);
}

export const SMOOTHED = having('smoothed');
export const IN_SPARKLINES = having('sparkline');
export const IN_PLOTS = having('plot');
export const ON_CARD = (FIGURES as readonly IFigure[]).flatMap(({ card }) => card ?? []);
