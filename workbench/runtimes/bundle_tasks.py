"""What a pipeline answers, made from its graph's outputs as transformers makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from workbench.core.bundle import BundleSpec
from workbench.core.tensor import Array
from workbench.errors import ExecutionError
from workbench.runtimes.bundle_text import Texts, activated, softmax
from workbench.runtimes.entities import Token, entities_of
from workbench.runtimes.onnx import OnnxSession

LONGEST_ANSWER = 15
"""Tokens of an answer to a question, as transformers had it."""


def classes(spec: BundleSpec, logits: Array) -> dict[str, Array]:
    """label, score and scores of each row of logits."""
    if logits.ndim != 2 or logits.shape[1] != len(spec.labels):
        raise ExecutionError(f"the graph answers {list(logits.shape)}, and it has {len(spec.labels)} labels")
    logits = logits.astype(np.float32)
    scores = activated(logits, spec.activation)
    best = scores.argmax(axis=1) if len(scores) else np.zeros(0, np.int64)
    score = np.take_along_axis(scores, best[:, np.newaxis], axis=1)[:, 0]
    return {"label": texts_of([spec.labels[which] for which in best]), "score": score, "scores": scores}


def texts_of(texts: Sequence[str]) -> Array:
    """BYTES of one axis."""
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return array


class Classified:
    """text -> label, score, scores."""

    def __init__(self, spec: BundleSpec, session: OnnxSession, texts: Texts) -> None:
        self._spec, self._session, self._texts = spec, session, texts

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        texts = self._texts.read("text", inputs["text"])
        logits = np.zeros((len(texts), len(self._spec.labels)), np.float32)
        for rows, (found,) in self._texts.run(self._session, self._texts.encode(texts), self._spec.outputs):
            if found.shape[1:] != logits.shape[1:]:
                raise ExecutionError(f"the graph answers {list(found.shape)}, and it has {logits.shape[1]} labels")
            logits[rows] = found
        return classes(self._spec, logits)


class Embedded:
    """text -> embedding."""

    def __init__(self, spec: BundleSpec, session: OnnxSession, texts: Texts) -> None:
        self._spec, self._session, self._texts = spec, session, texts

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        texts = self._texts.read("text", inputs["text"])
        (spec,) = (each for each in self._session.signature.outputs if each.name == self._spec.outputs[0])
        embedding = np.zeros((len(texts), max(0, spec.shape[-1])), np.float32)
        for rows, (found,) in self._texts.run(self._session, self._texts.encode(texts), self._spec.outputs):
            if found.ndim != 2 or found.shape[1] != embedding.shape[1]:
                raise ExecutionError(f"the graph answers {list(found.shape)} for [{len(rows)}, {embedding.shape[1]}]")
            embedding[rows] = found
        return {"embedding": embedding}


class TokensClassified:
    """text -> entities, the JSON of a list of dicts for each row."""

    def __init__(self, spec: BundleSpec, session: OnnxSession, texts: Texts) -> None:
        self._spec, self._session, self._texts = spec, session, texts
        self._decoder = texts.tokenizer.decoder

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        texts = self._texts.read("text", inputs["text"])
        encodings = self._texts.encode(texts, places=True)
        answers = [""] * len(texts)
        for rows, (logits,) in self._texts.run(self._session, encodings, self._spec.outputs):
            if logits.ndim != 3 or logits.shape[2] != len(self._spec.labels):
                raise ExecutionError(f"the graph answers {list(logits.shape)} for {len(self._spec.labels)} labels")
            scores = softmax(logits.astype(np.float32))
            for place, row in enumerate(rows):
                encoding = encodings[row]
                of_tokens = scores[place, self._texts.place(encoding, logits.shape[1])]
                tokens = [
                    self._token(texts[row], which, of_tokens[which], encoding.ids[which], *encoding.offsets[which])
                    for which, special in enumerate(encoding.special)
                    if not special
                ]
                found = entities_of(tokens, self._spec, self._words)
                answers[row] = json.dumps(found, ensure_ascii=False)
        return {"entities": texts_of(answers)}

    def _token(self, text: str, index: int, scores: Array, number: int, start: int, end: int) -> Token:
        word, within = self._texts.tokenizer.id_to_token(number) or "", text[start:end]
        spec = self._texts.spec
        inside_a_word = start > 0 and " " not in text[start - 1 : start + 1]
        goes_on = len(word) != len(within) if spec.word_pieces else inside_a_word
        if number == spec.unknown_id:
            word, goes_on = within, False
        return Token(word, scores, start, end, index, goes_on)

    def _words(self, tokens: Sequence[str]) -> str:
        return self._decoder.decode(list(tokens)) if self._decoder is not None else " ".join(tokens)


class QuestionsAnswered:
    """question, context -> answer, score, start, end."""

    def __init__(self, spec: BundleSpec, session: OnnxSession, texts: Texts) -> None:
        self._spec, self._session, self._texts = spec, session, texts

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        questions = self._texts.read("question", inputs["question"])
        contexts = self._texts.read("context", inputs["context"])
        encodings = self._texts.encode(list(zip(questions, contexts, strict=True)), places=True)
        count = len(questions)
        score = np.zeros(count, np.float32)
        start, end = np.zeros(count, np.int64), np.zeros(count, np.int64)
        for rows, (starts, ends) in self._texts.run(self._session, encodings, self._spec.outputs):
            for place, row in enumerate(rows):
                encoding = encodings[row]
                inside = np.array([each == 1 for each in encoding.parts])
                if not inside.any():
                    continue
                tokens = self._texts.place(encoding, starts.shape[1])
                first, last, score[row] = best_span(starts[place, tokens], ends[place, tokens], inside)
                start[row], end[row] = encoding.offsets[first][0], encoding.offsets[last][1]
        spans = zip(contexts, start.tolist(), end.tolist(), strict=True)
        answer = texts_of([context[begins:ends] for context, begins, ends in spans])
        return {"answer": answer, "score": score, "start": start, "end": end}


def best_span(starts: Array, ends: Array, inside: Array) -> tuple[int, int, float]:
    """(first token, last token, score) of the likeliest span of at most LONGEST_ANSWER tokens that are `inside`.

    Of spans that are equally likely the one that begins first, and then the shorter. Memory is linear in the tokens.
    """
    first, last = (softmax(np.where(inside, each.astype(np.float32), -np.inf)) for each in (starts, ends))
    best, length = first * last, np.zeros(len(inside), np.int64)
    for more in range(1, min(LONGEST_ANSWER, len(inside))):
        longer = first[:-more] * last[more:]
        better = longer > best[:-more]
        best[:-more][better] = longer[better]
        length[:-more][better] = more
    begin = int(best.argmax())
    return begin, begin + int(length[begin]), float(best[begin])
