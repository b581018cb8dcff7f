/** Reads an answer of "Try it" as what it is: classes with scores, parts of a text, an embedding. Pure. */

import type { ITensor } from '../service/wire';

/** A class, and how sure the model is of it: 0 to 1. */
export interface IScore {
  readonly label: string;
  readonly score: number;
}

/** A piece of a text; one that is marked has a label (empty for an answer to a question) and its score. */
export interface IPiece {
  readonly text: string;
  readonly mark: IScore | null;
}

export type Reading =
  | {
      readonly kind: 'scores';
      /** For each row its likeliest classes, best first. */
      readonly rows: readonly (readonly IScore[])[];
      /** Classes of a row that are not among them. */
      readonly more: number;
    }
  | {
      readonly kind: 'entities';
      readonly rows: readonly (readonly IPiece[])[];
    }
  | {
      readonly kind: 'answers';
      readonly rows: readonly { readonly answer: IScore; readonly pieces: readonly IPiece[] }[];
    }
  | {
      readonly kind: 'embeddings';
      readonly rows: readonly { readonly size: number; readonly first: readonly number[] }[];
    };

/** The texts that were sent, by input: one a row. Those that are not known as a whole are absent. */
export type Texts = Readonly<Record<string, readonly string[]>>;

/** The most rows that are shown so; an answer with more is shown as tensors alone. */
const ROWS = 16;
/** The classes that are shown of a single row; of several rows it is the best one of each. */
const BEST = 5;
/** The numbers of an embedding that are shown. */
const FIRST = 8;
/** The characters on each side of an answer. */
const AROUND = 400;

/** What an answer is; null if it is just tensors. `labels`: output -> what its columns are called. */
export function read(
  outputs: readonly ITensor[],
  labels: Readonly<Record<string, readonly string[]>>,
  texts: Texts
): Reading | null {
  const found = new Map(outputs.map(output => [output.name, output]));
  return (
    readAnswers(found, texts) ??
    readEntities(found, texts) ??
    readScores(outputs, labels) ??
    readBestScore(found) ??
    readEmbeddings(outputs)
  );
}

/** The texts of inputs that take one a row, as the server tells what was sent. */
export function textsSent(inputs: readonly ITensor[]): Texts {
  return Object.fromEntries(
    inputs
      .filter(({ datatype, cut }) => datatype === 'BYTES' && !cut)
      .map(({ name, data }) => [name, [data].flat(3).map(String)])
  );
}

/** Scores of which it is known which class is which. */
function readScores(
  outputs: readonly ITensor[],
  labels: Readonly<Record<string, readonly string[]>>
): Reading | null {
  for (const { name, shape, data, cut } of outputs) {
    const names = labels[name];
    const rows = numbers(data);
    if (names && !cut && rows && fits(shape, names.length) && rows.flat().every(isPart)) {
      const best = rows.length > 1 ? 1 : BEST;
      return {
        kind: 'scores',
        rows: rows.map(row => ranked(names, row).slice(0, best)),
        more: Math.max(0, names.length - best)
      };
    }
  }
  return null;
}

/** A label and its score, where the scores of the others are too many to be told. */
function readBestScore(found: ReadonlyMap<string, ITensor>): Reading | null {
  const labels = texts(found.get('label'));
  const scores = values(found.get('score'));
  if (!labels || !scores || labels.length !== scores.length || !scores.every(isPart)) {
    return null;
  }
  return {
    kind: 'scores',
    rows: labels.map((label, row) => [{ label, score: scores[row] ?? 0 }]),
    more: 0
  };
}

/** What a model of token classification found, in the text that it was given. */
function readEntities(found: ReadonlyMap<string, ITensor>, sent: Texts): Reading | null {
  const told = texts(found.get('entities'));
  const given = sent['text'];
  if (!told || !given || told.length !== given.length) {
    return null;
  }
  const rows = told.map((json, row) => {
    const entities = parsedEntities(json);
    return entities && marked(given[row] ?? '', entities);
  });
  return rows.every(row => row !== null) ? { kind: 'entities', rows } : null;
}

function readAnswers(found: ReadonlyMap<string, ITensor>, sent: Texts): Reading | null {
  const [answers, scores] = [texts(found.get('answer')), values(found.get('score'))];
  const [starts, ends] = [values(found.get('start')), values(found.get('end'))];
  const contexts = sent['context'];
  if (!answers || !scores || !starts || !ends || !contexts || contexts.length !== answers.length) {
    return null;
  }
  return {
    kind: 'answers',
    rows: answers.map((label, row) => {
      const answer = { label, score: scores[row] ?? 0 };
      const mark = { label: '', score: answer.score };
      const span = { start: starts[row] ?? 0, end: ends[row] ?? 0, mark };
      return { answer, pieces: around(marked(contexts[row] ?? '', [span])) };
    })
  };
}

/** The vectors of a model that gives nothing else. */
function readEmbeddings(outputs: readonly ITensor[]): Reading | null {
  const [only, ...others] = outputs;
  if (!only || others.length > 0 || only.name !== 'embedding' || only.shape.length !== 2) {
    return null;
  }
  const rows = numbers(only.data);
  return rows && rows.length === only.shape[0] && rows.length <= ROWS
    ? {
        kind: 'embeddings',
        rows: rows.map(row => ({ size: only.shape[1] ?? 0, first: row.slice(0, FIRST) }))
      }
    : null;
}

interface ISpan {
  /** Counted in code points, as Python counts. */
  readonly start: number;
  readonly end: number;
  readonly mark: IScore;
}

/** The JSON of one row of `entities`; null if it is not that of a list of them. */
function parsedEntities(json: string): readonly ISpan[] | null {
  let found: unknown;
  try {
    found = JSON.parse(json);
  } catch {
    return null;
  }
  if (!Array.isArray(found)) {
    return null;
  }
  const spans = found.map((each: Record<string, unknown> | null) => ({
    start: Number(each?.['start']),
    end: Number(each?.['end']),
    mark: {
      label: String(each?.['entity_group'] ?? each?.['entity'] ?? ''),
      score: Number(each?.['score'])
    }
  }));
  return spans.every(({ start, end }) => Number.isInteger(start) && Number.isInteger(end))
    ? spans
    : null;
}

/** A text in pieces; a span that is empty, or begins within another, is left out. */
function marked(text: string, spans: readonly ISpan[]): readonly IPiece[] {
  const points = Array.from(text);
  const pieces: IPiece[] = [];
  const add = (start: number, end: number, mark: IScore | null) => {
    if (end > start) {
      pieces.push({ text: points.slice(start, end).join(''), mark });
    }
  };
  let at = 0;
  for (const { start, end, mark } of [...spans].sort((a, b) => a.start - b.start)) {
    if (start >= at && end > start && end <= points.length) {
      add(at, start, null);
      add(start, end, mark);
      at = end;
    }
  }
  add(at, points.length, null);
  return pieces;
}

/** What stands around an answer, cut where it is long. */
function around(pieces: readonly IPiece[]): readonly IPiece[] {
  const which = pieces.findIndex(({ mark }) => mark !== null);
  return pieces.map((piece, i) => {
    const points = Array.from(piece.text);
    if (piece.mark !== null || points.length <= AROUND) {
      return piece;
    }
    const text =
      i < which ? `…${points.slice(-AROUND).join('')}` : `${points.slice(0, AROUND).join('')}…`;
    return { ...piece, text };
  });
}

function ranked(names: readonly string[], scores: readonly number[]): readonly IScore[] {
  return names
    .map((label, i) => ({ label, score: scores[i] ?? 0 }))
    .sort((a, b) => b.score - a.score);
}

/** The shape of a few rows of that many columns. */
function fits(shape: readonly number[], columns: number): boolean {
  const [rows = 0, width] = shape;
  return shape.length === 2 && width === columns && rows >= 1 && rows <= ROWS;
}

function isPart(value: number): boolean {
  return value >= 0 && value <= 1 + 1e-6;
}

/** Rows of numbers; null for anything else, as where one of them is not finite. */
function numbers(data: unknown): readonly (readonly number[])[] | null {
  const rows: unknown[] = Array.isArray(data) ? data : [];
  return rows.length > 0 && rows.every(row => Array.isArray(row) && row.every(isNumber))
    ? (rows as number[][])
    : null;
}

/** One number for each of a few rows. */
function values(tensor: ITensor | undefined): readonly number[] | null {
  return column(tensor, isNumber) as readonly number[] | null;
}

function texts(tensor: ITensor | undefined): readonly string[] | null {
  return column(tensor, value => typeof value === 'string') as readonly string[] | null;
}

function column(
  tensor: ITensor | undefined,
  is: (value: unknown) => boolean
): readonly unknown[] | null {
  if (!tensor || tensor.cut || tensor.shape.length !== 1) {
    return null;
  }
  const found: unknown[] = Array.isArray(tensor.data) ? tensor.data : [];
  return found.length > 0 && found.length <= ROWS && found.every(is) ? found : null;
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number';
}
