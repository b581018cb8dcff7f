"""How a transformers model reads texts, and what it answers itself, task by task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from workbench.convert.hub.text_checks import Own, by_class, entities_as_arrays, given_texts, read_entities
from workbench.convert.hub.transformers_parts import Parts
from workbench.core.bundle import TextSpec
from workbench.core.tensor import Array
from workbench.errors import InvalidInput

LONGEST_ANSWER = 15
"""Tokens of an answer, as runtimes.bundle_tasks has it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How the original is asked."""

    own: Own
    made_up: Callable[[list[str]], list[Any]] = list
    """Rows made of texts."""
    given: Callable[[Any], list[Any]] = given_texts
    """Rows of a sample."""
    named: Callable[[Sequence[Any]], Any] = list
    """Rows as predict takes them."""
    read: Callable[[Mapping[str, Array]], Mapping[str, Array]] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the BundleSpec."""


def asked_of(parts: Parts, tokenizer: Any, max_length: int) -> Asked:
    """The original with `tokenizer`, which cuts at `max_length` tokens."""
    if parts.task == "question-answering":
        return Asked(
            lambda rows: _answers(parts.model, tokenizer, max_length, rows),
            made_up=_pairs,
            given=given_pairs,
            named=lambda rows: {"question": [row[0] for row in rows], "context": [row[1] for row in rows]},
        )
    from transformers import pipeline

    pipe = pipeline(parts.task, model=parts.model, tokenizer=tokenizer, device=parts.model.device)
    pipe._postprocess_params = dict(parts.options)
    labels = labels_of(parts.model.config)
    if parts.task == "text-classification":
        cut = {"truncation": True, "max_length": max_length} if max_length else {}
        return Asked(
            lambda rows: by_class(pipe(rows, top_k=None, **cut), labels),
            options={"activation": activation_of(parts)},
        )
    aggregation = parts.options.get("aggregation_strategy")
    ignored = parts.options.get("ignore_labels")
    return Asked(
        lambda rows: entities_as_arrays(pipe(rows)),
        read=read_entities,
        options={
            "aggregation": getattr(aggregation, "value", None) or "none",
            "ignored": ("O",) if ignored is None else tuple(ignored),
        },
    )


def _pairs(texts: list[str]) -> list[tuple[str, str]]:
    """Each text as the context of a question, which is a short one of them."""
    questions = sorted(filter(None, texts), key=len)[:4] or ["?"]
    return [(questions[place % len(questions)], text) for place, text in enumerate(texts)]


def given_pairs(sample: Any) -> list[tuple[str, str]]:
    """The rows of a sample: a dict or a DataFrame with questions and contexts, or a list of dicts with one of each."""
    try:
        if isinstance(sample, list):
            sample = {name: [row[name] for row in sample] for name in ("question", "context")}
        questions, contexts = given_texts(sample["question"]), given_texts(sample["context"])
    except (TypeError, KeyError, IndexError):
        raise InvalidInput(
            "sample takes rows as predict takes them: {'question': [...], 'context': [...]}, a DataFrame with these "
            "columns, or a list of dicts"
        ) from None
    if len(questions) != len(contexts):
        raise InvalidInput(f"sample holds {len(questions)} questions and {len(contexts)} contexts; give one to each")
    return list(zip(questions, contexts, strict=True))


def activation_of(parts: Parts) -> Any:
    """As transformers chooses it, by the pipeline's options and the model's problem_type."""
    if (chosen := parts.options.get("function_to_apply")) is not None:
        return str(getattr(chosen, "value", chosen))
    config = parts.model.config
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


def labels_of(config: Any) -> tuple[str, ...]:
    return tuple(str(config.id2label[which]) for which in range(config.num_labels))


def text_inputs(model: Any, tokenizer: Any) -> tuple[str, ...]:
    """What both know, among the names that the service can fill."""
    known = inspect.signature(model.forward).parameters
    given = tokenizer.model_input_names
    return tuple(name for name in ("input_ids", "attention_mask", "token_type_ids") if name in given and name in known)


def text_spec(
    tokenizer: Any, inputs: Sequence[str], max_length: int, pad_side: Literal["left", "right"], **more: Any
) -> TextSpec:
    """How `tokenizer` cuts, and what it pads with."""
    backend = tokenizer.backend_tokenizer
    return TextSpec(
        max_length=max_length,
        pad_id=tokenizer.pad_token_id if "attention_mask" in inputs else None,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_side=pad_side,
        cut_side=tokenizer.truncation_side,
        unknown_id=tokenizer.unk_token_id,
        word_pieces=bool(getattr(backend.model, "continuing_subword_prefix", None)),
        **more,
    )


def _answers(model: Any, tokenizer: Any, max_length: int, rows: Sequence[tuple[str, str]]) -> dict[str, Array]:
    """The likeliest span of each context, looked for one by one."""
    import torch

    cut = {"truncation": "only_second", "max_length": max_length} if max_length else {}
    found = []
    for question, context in rows:
        encoded = tokenizer(question, context, return_offsets_mapping=True, return_tensors="pt", **cut)
        offsets = encoded.pop("offset_mapping")[0].tolist()
        inside = [place for place, part in enumerate(encoded.sequence_ids(0)) if part == 1]
        with torch.no_grad():
            answer = model(**{name: value.to(model.device) for name, value in encoded.items()})
        if not inside:
            found.append(("", 0.0, 0, 0))
            continue
        first, last = (each[0, inside].float().softmax(0).tolist() for each in (answer.start_logits, answer.end_logits))
        score, begins, ends = max(
            (first[begins] * last[ends], -begins, -ends)
            for begins in range(len(inside))
            for ends in range(begins, min(begins + LONGEST_ANSWER, len(inside)))
        )
        start, end = offsets[inside[-begins]][0], offsets[inside[-ends]][1]
        found.append((context[start:end], score, start, end))
    return {
        "answer": np.array([each[0] for each in found], dtype=object),
        "score": np.array([each[1] for each in found], np.float32),
        "start": np.array([each[2] for each in found], np.int64),
        "end": np.array([each[3] for each in found], np.int64),
    }
