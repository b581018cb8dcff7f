"""Joins classified tokens into entities, by the strategies of transformers' token classification. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.core.bundle import BundleSpec
from workbench.core.tensor import Array


@dataclass(frozen=True, slots=True)
class Token:
    word: str
    scores: Array
    """By label."""
    start: int
    end: int
    index: int
    """Among the text's tokens, special ones counted."""
    goes_on: bool
    """It is part of the same word as the token before it."""


@dataclass(frozen=True, slots=True)
class _Labelled:
    label: str
    score: float
    word: str
    start: int
    end: int
    index: int


def entities_of(
    tokens: Sequence[Token], spec: BundleSpec, joined: Callable[[Sequence[str]], str]
) -> list[dict[str, object]]:
    """As the pipeline of transformers gives them; `joined` makes a text of tokens."""
    if spec.aggregation in ("none", "simple"):
        found = [_labelled(each, each.scores, spec.labels) for each in tokens]
    else:
        found = [_word(group, spec, joined) for group in _words(tokens)]
    if spec.aggregation == "none":
        return [
            {"entity": e.label, "score": e.score, "index": e.index, "word": e.word, "start": e.start, "end": e.end}
            for e in found
            if e.label not in spec.ignored
        ]
    entities = []
    for group in _groups(found):
        label = group[0].label.split("-", 1)[-1]
        if label not in spec.ignored:
            score = float(np.nanmean([each.score for each in group]))
            word = joined([each.word for each in group])
            entities.append(
                {"entity_group": label, "score": score, "word": word, "start": group[0].start, "end": group[-1].end}
            )
    return entities


def _labelled(token: Token, scores: Array, labels: Sequence[str]) -> _Labelled:
    best = int(scores.argmax())
    return _Labelled(labels[best], float(scores[best]), token.word, token.start, token.end, token.index)


def _words(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    group: list[Token] = []
    for token in tokens:
        if group and not token.goes_on:
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _word(group: Sequence[Token], spec: BundleSpec, joined: Callable[[Sequence[str]], str]) -> _Labelled:
    """One word, with one label for all its tokens."""
    if spec.aggregation == "first":
        scores = group[0].scores
    elif spec.aggregation == "max":
        scores = max(group, key=lambda each: float(each.scores.max())).scores
    else:
        scores = np.nanmean(np.stack([each.scores for each in group]), axis=0)
    whole = Token(joined([each.word for each in group]), scores, group[0].start, group[-1].end, group[0].index, False)
    return _labelled(whole, scores, spec.labels)


def _groups(found: Sequence[_Labelled]) -> Iterator[list[_Labelled]]:
    """Neighbours with one label; one that begins an entity (B-) begins a group."""
    group: list[_Labelled] = []
    for each in found:
        if group and (each.label.startswith("B-") or _tag(each.label) != _tag(group[-1].label)):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _tag(label: str) -> str:
    return label[2:] if label.startswith(("B-", "I-")) else label
