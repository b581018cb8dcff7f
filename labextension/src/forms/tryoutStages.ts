/** The stages of a request to a pipeline as the lines of a waterfall. Pure. */

import type { IPipelineStep, IStage } from '../service/wire';
import { type ISegment, segments } from './tryoutForm';

export interface IStageLine {
  readonly name: string;
  readonly version: string;
  /** 0 for a stage of the pipeline itself, 1 for a stage of a pipeline among them, and so on. */
  readonly depth: number;
  readonly seconds: number;
  /** Where it begins and how long it is, as parts of the whole: 0 to 1. */
  readonly from: number;
  readonly length: number;
  /** What its time went into; the parts add up to its length. */
  readonly segments: readonly ISegment[];
}

/** One line a stage, in the order in which they began; those of a pipeline among them below it. */
export function stageLines(stages: readonly IStage[]): readonly IStageLine[] {
  const whole_us = Math.max(0, ...stages.map(stage => stage.began_us + took_us(stage)));
  const lines = (within: readonly IStage[], began_us: number, depth: number): IStageLine[] =>
    [...within]
      .sort((a, b) => a.began_us - b.began_us)
      .flatMap(stage => {
        const from_us = began_us + stage.began_us;
        const part = (us: number) => (whole_us > 0 ? Math.min(1, us / whole_us) : 0);
        return [
          {
            name: stage.stage,
            version: stage.version,
            depth,
            seconds: took_us(stage) / 1e6,
            from: part(from_us),
            length: part(took_us(stage)),
            segments: segments(stage)
          },
          ...lines(stage.stages ?? [], from_us, depth + 1)
        ];
      });
  return lines(stages, 0, 0);
}

/** What the stages of a pipeline are called: "det › crop, version 2 › rec". */
export function stageNames(
  steps: readonly IPipelineStep[],
  withVersion: (model: string, version: string) => string
): string {
  return steps
    .map(({ model, version }) => (version === null ? model : withVersion(model, version)))
    .join(' › ');
}

function took_us({ queue_us, batch_us, compute_us, split_us }: IStage): number {
  return queue_us + batch_us + compute_us + split_us;
}
