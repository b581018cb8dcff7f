"""What a pipeline is asked to prove that its export answers as it does: texts of many kinds, and its own answers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.convert.converters import Check, article
from workbench.core.tensor import Array
from workbench.errors import InvalidInput

MOST_TEXTS = 32
"""Of a sample."""
BATCHES = (1, 2, 7)

Own = Callable[[list[Any]], dict[str, Array]]
"""Rows -> the original's own answers, by output."""

_FIXED = (
    "The quick brown fox jumps over the lazy dog.",
    "Gr\u00fc\u00dfe aus K\u00f6ln \u2014 \u6771\u4eac\u306f\u6674\u308c \u2603 \U0001f642 na\u00efve e\u0301",
    "",
    " Tabs\tand\n\nlines, CAPITALS; 3.14 and https://example.org/?a=1&b=2 ",
)
_COUNTS = (1, 3, 9, 20, 33)
_UNLIMITED = 300
"""Tokens of the longest made-up text where the model has no limit."""


def made_up_texts(tokenizer: Any, max_length: int) -> list[str]:
    """Short and long texts of the tokenizer's own tokens, the last longer than the model takes, and unusual ones."""
    random = np.random.default_rng(0)
    special = set(tokenizer.all_special_ids)
    known = [each for each in range(min(len(tokenizer), 20_000)) if each not in special] or [0]

    def of(count: int) -> str:
        return str(tokenizer.decode(random.choice(known, count).tolist()))

    texts = [of(count) for count in _COUNTS]
    texts[2:2] = _FIXED
    texts.append(of(int(1.25 * max_length) + 8 if max_length else _UNLIMITED))
    return [text for text in texts if len(tokenizer.backend_tokenizer.encode(text))]


def given_texts(sample: Any) -> list[str]:
    """The texts of a sample: one, a list, an array or a Series of them, or these as `text` of a dict.

    Raises InvalidInput."""
    if isinstance(sample, Mapping):
        sample = sample.get("text", sample)
    texts: list[Any] = (
        [sample]
        if isinstance(sample, str | Mapping)
        else list(np.asarray(sample, dtype=object).reshape(-1)[:MOST_TEXTS])
    )
    wrong = [each for each in texts if not isinstance(each, str)]
    if wrong or not texts:
        raise InvalidInput(
            "sample takes texts, as predict takes them"
            + (f"; {article(wrong[0])} was given" if wrong else "; this holds none")
        )
    return texts


def checks_of(
    rows: Sequence[Any],
    answers: Mapping[str, Array],
    what: str,
    *,
    read: Callable[[Mapping[str, Array]], Mapping[str, Array]] | None = None,
    named: Callable[[Sequence[Any]], Any] = lambda rows: list(rows),
) -> tuple[Check, ...]:
    """The rows in batches of 1, 2 and 7, and all of them, which are `what`. `named` makes an input of rows."""
    checks = []
    for size in (*BATCHES, len(rows)):
        if size <= len(rows):
            part = slice(len(rows)) if size == len(rows) else slice(min(size, len(rows) - size), None)
            chosen = list(rows)[part][:size]
            own = {name: array[part][:size] for name, array in answers.items()}
            said = what if size == len(rows) else f"in batches of {size}"
            checks.append(Check(named(chosen), len(chosen), own, said, read))
    return tuple(checks)


def quietly(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Without the remarks of transformers on how it may be called better."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


def by_class(answers: Sequence[Sequence[Mapping[str, Any]]], labels: Sequence[str]) -> dict[str, Array]:
    """scores, label and score, of what a pipeline answers when it is asked for all classes."""
    best = [max(row, key=lambda each: each["score"]) for row in answers]
    found = {
        "label": np.array([each["label"] for each in best], dtype=object),
        "score": np.array([each["score"] for each in best], dtype=np.float32),
    }
    if len(set(labels)) == len(labels):
        scores = [
            [score for _, score in sorted((labels.index(e["label"]), e["score"]) for e in row)] for row in answers
        ]
        return {"scores": np.array(scores, np.float32), **found}
    return found


MOST_ENTITIES = 4096
"""Of one text whose scores are compared; what they are is compared of all."""


def read_entities(answer: Mapping[str, Array]) -> dict[str, Array]:
    """The JSON of entities as arrays: what was found in each row, and the scores."""
    return entities_as_arrays([json.loads(text) for text in answer["entities"].tolist()])


def entities_as_arrays(rows: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Array]:
    found = np.empty(len(rows), dtype=object)
    scores = np.zeros((len(rows), MOST_ENTITIES), np.float32)
    for place, row in enumerate(rows):
        # Of numpy where the pipeline itself answers; JSON has Python's.
        said = [{key: value if key != "score" else None for key, value in each.items()} for each in row]
        found[place] = json.dumps(said, default=int)
        few = [float(each["score"]) for each in row[:MOST_ENTITIES]]
        scores[place, : len(few)] = few
    return {"entities": found, "their scores": scores}
