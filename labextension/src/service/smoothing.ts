import { SMOOTHED } from './figures';
import type { IFigures, IModelFigures } from './wire';

/** What the server's percentiles look back on too: without, a model called twice a second flickers between 0 and 8. */
export const SMOOTHING_S = 2;

/** The ticks of the last SMOOTHING_S seconds, the new one included; of one run of the service only. */
export function withTick(ticks: readonly IFigures[], next: IFigures): readonly IFigures[] {
  const young = ticks.filter(
    ({ epoch, time }) => epoch === next.epoch && time > next.time - SMOOTHING_S && time < next.time
  );
  return [...young, next];
}

/** One model's last figures, the rates averaged over all ticks that know it; null where the last one does not. */
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
