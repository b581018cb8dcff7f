import { SMOOTHED } from './figures';
import type { IFigures, IModelFigures } from './wire';

/** The server's percentiles cover this time too. Unsmoothed, a rate of two a second flickers between 0 and 8. */
export const SMOOTHING_S = 2;

/** The ticks of the last SMOOTHING_S seconds with the new one, of the same run of the service. */
export function withTick(ticks: readonly IFigures[], next: IFigures): readonly IFigures[] {
  const young = ticks.filter(
    ({ epoch, time }) => epoch === next.epoch && time > next.time - SMOOTHING_S && time < next.time
  );
  return [...young, next];
}

/** One model's last figures, with rates averaged over all ticks that have the model; null if the last one lacks it. */
export function smoothed(ticks: readonly IFigures[], name: string): IModelFigures | null {
  const last = ticks[ticks.length - 1]?.models[name];
  if (last === undefined) {
    return null;
  }
  let seconds = 0;
  const sums = new Map(SMOOTHED.map(({ key }) => [key, 0]));
  for (const { interval_s, models } of ticks) {
    const figures = models[name];
    if (figures !== undefined) {
      seconds += interval_s;
      sums.forEach((sum, key) => sums.set(key, sum + figures[key] * interval_s));
    }
  }
  const means = [...sums].map(([key, sum]) => [key, sum / seconds] as const);
  return seconds > 0 ? { ...last, ...Object.fromEntries(means) } : last;
}
