/** Which inputs of a model "Try it" asks for as what they are, a text or a picture, rather than as JSON. Pure. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { IModelStatus, ITensorSpec } from '../service/wire';

/** A text, or the bytes of a picture's file. */
export type FieldKind = 'text' | 'picture';

export interface IInputField {
  readonly spec: ITensorSpec;
  readonly kind: FieldKind;
}

/** What is typed or chosen, by input. */
export type Given = ReadonlyMap<string, string | File>;

/** The files of one request may have so many bytes: FILES_BYTES of workbench/jupyter/routes.py. */
export const MOST_BYTES = 20 * 2 ** 20;

/** The most inputs that are asked for one by one. */
const MANY = 12;

/** As workbench/core/runtime.py names models that take texts or pictures. */
const BUNDLE = 'workbench_bundle';

/** Pipelines may be stages of each other this deep. */
const DEEPEST = 8;

/** The fields for a model's inputs, in order; null where they cannot all be asked for so. `models`: all that is served. */
export function inputFields(
  status: IModelStatus,
  models: readonly IModelStatus[]
): readonly IInputField[] | null {
  const inputs = status.inputs ?? [];
  if (inputs.length === 0 || inputs.length > MANY || !inputs.every(isOneText)) {
    return null;
  }
  return inputs.map(spec => ({
    spec,
    kind: takesPictures(status, spec.name, models, DEEPEST) ? 'picture' : 'text'
  }));
}

/** Whether all fields are filled in: each has its picture, and one at least of the texts is not empty. */
export function isGiven(fields: readonly IInputField[], given: Given): boolean {
  const texts = fields.filter(({ kind }) => kind === 'text');
  const pictures = fields.filter(({ kind }) => kind === 'picture');
  return (
    pictures.every(({ spec }) => given.get(spec.name) instanceof File) &&
    (texts.length === 0 || texts.some(({ spec }) => textOf(given, spec.name).trim() !== ''))
  );
}

/** One row of the texts that are given, as the inputs of a trial. */
export function givenTexts(
  fields: readonly IInputField[],
  given: Given
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    fields
      .filter(({ kind }) => kind === 'text')
      .map(({ spec }) => [spec.name, nested(spec.shape.length, textOf(given, spec.name))])
  );
}

/** The files that are given, by input. */
export function givenFiles(
  fields: readonly IInputField[],
  given: Given
): ReadonlyMap<string, File> {
  const files = new Map<string, File>();
  for (const { spec, kind } of fields) {
    const file = given.get(spec.name);
    if (kind === 'picture' && file instanceof File) {
      files.set(spec.name, file);
    }
  }
  return files;
}

/** Why a file cannot be tried as a picture; empty if it can. Which formats it reads, the service says. */
export function pictureTrouble(
  trans: TranslationBundle,
  { name, size, type }: { readonly name: string; readonly size: number; readonly type: string }
): string {
  if (type !== '' && !type.startsWith('image/')) {
    return trans.__('%1 is no picture: choose a JPEG, PNG, WEBP or BMP file.', name);
  }
  if (size > MOST_BYTES) {
    return trans.__(
      '%1 has %2 MiB, and at most %3 MiB can be tried here. Call the model from a notebook for larger ones.',
      name,
      (size / 2 ** 20).toFixed(1),
      MOST_BYTES / 2 ** 20
    );
  }
  return '';
}

export function textOf(given: Given, name: string): string {
  const value = given.get(name);
  return typeof value === 'string' ? value : '';
}

/** Whether an input takes one text for each row, or one in all. */
function isOneText({ datatype, shape, ranked }: ITensorSpec): boolean {
  return (
    datatype === 'BYTES' &&
    ranked !== false &&
    shape.length <= 2 &&
    shape.every((size, axis) => size === 1 || (axis === 0 && size === -1))
  );
}

/** Whether an input is one of pictures: of a model that takes them, or of a pipeline that hands it to one. */
function takesPictures(
  { platform, pipeline }: IModelStatus,
  input: string,
  models: readonly IModelStatus[],
  deepest: number
): boolean {
  if (!pipeline) {
    return platform === BUNDLE && input === 'image';
  }
  const tensor = pipeline.inputs[input];
  return pipeline.steps.some(step =>
    Object.entries(step.inputs).some(([name, taken]) => {
      const stage = models.find(
        model =>
          model.name === step.model &&
          (step.version === null ? model.routed : model.version === step.version)
      );
      return (
        taken === tensor &&
        stage !== undefined &&
        deepest > 0 &&
        takesPictures(stage, name, models, deepest - 1)
      );
    })
  );
}

function nested(axes: number, value: unknown): unknown {
  return axes === 0 ? value : [nested(axes - 1, value)];
}
