"""Takes what a user calls a transformers model apart: the model, its tokenizer or image processor, and the task."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from workbench.core.bundle import Task
from workbench.errors import InvalidInput, Unsupported

HEADS: dict[str, Task] = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image-classification",
}
"""How the classes of models end -> their task."""

SERVED = "text-classification, token-classification, image-classification, and question answering from a pair"

_ENDLESS = 1_000_000
"""transformers gives a tokenizer without a limit one of 1e30 tokens."""


@dataclass(frozen=True, slots=True)
class Parts:
    model: Any
    task: Task | None = None
    """None: the model alone, served as tensors."""
    tokenizer: Any = None
    processor: Any = None
    """Of images."""
    options: dict[str, Any] = field(default_factory=dict)
    """What a pipeline was made with: function_to_apply, aggregation_strategy, ignore_labels."""
    max_length: int = 0
    """Where a pipeline cuts its texts; 0: where its tokenizer or its model ends."""


def parts_of(source: Any) -> Parts:
    """The parts of a pipeline, of a pair (model, tokenizer) or of a model. Raises InvalidInput and Unsupported."""
    import transformers

    if isinstance(source, transformers.Pipeline):
        return _of_pipeline(source)
    if isinstance(source, tuple):
        return _of_pair(source)
    if isinstance(source, transformers.PreTrainedModel):
        return Parts(source)
    kind = type(source).__name__
    if isinstance(source, transformers.PreTrainedTokenizerBase | transformers.BaseImageProcessor):
        raise InvalidInput(f"a {kind} is no model; load the pair (model, {_called(source)})")
    if isinstance(source, transformers.Trainer):
        raise InvalidInput("a Trainer is no model; load its model, or the pair (trainer.model, tokenizer)")
    raise Unsupported(
        f"a {kind} of transformers cannot be loaded; load a pipeline, a pair (model, tokenizer) or a model"
    )


def task_of(kind: str) -> Task | None:
    """The task of the models of this class; None where it has none that is served as a whole."""
    return next((task for ending, task in HEADS.items() if kind.endswith(ending)), None)


def _of_pipeline(pipe: Any) -> Parts:
    task = pipe.task
    if task not in ("text-classification", "token-classification", "image-classification"):
        raise Unsupported(
            f"a pipeline for {task} is not served as a whole ({SERVED} are); its model alone is served as tensors: "
            "load pipe.model"
            + ("; for one vector a text load SentenceTransformer(folder)" if task == "feature-extraction" else "")
        )
    if task != "image-classification" and pipe.tokenizer is None:
        raise InvalidInput("the pipeline has no tokenizer; make it with one, as pipeline(task, model, tokenizer=...)")
    kind = type(pipe)
    if not kind.__module__.startswith("transformers."):
        raise Unsupported(
            f"{kind.__name__} changes a pipeline of transformers in Python, which the service does not run; load the "
            "pair (pipe.model, pipe.tokenizer), and keep its own steps around it"
        )
    given = {name: value for name, value in pipe._preprocess_params.items() if value}
    cut = given.pop("max_length", 0)
    for name in ("truncation", "padding", "timeout"):
        given.pop(name, None)
    if given:
        raise Unsupported(
            f"a pipeline with {', '.join(sorted(given))} is not served as a whole; make it without, or load "
            "pipe.model, as tensors"
        )
    return Parts(pipe.model, task, pipe.tokenizer, pipe.image_processor, dict(pipe._postprocess_params), cut)


def _of_pair(source: tuple[Any, ...]) -> Parts:
    import transformers

    models = [each for each in source if isinstance(each, transformers.PreTrainedModel)]
    others = [each for each in source if not isinstance(each, transformers.PreTrainedModel)]
    if len(source) != 2 or len(models) != 1:
        raise InvalidInput("a pair is (model, tokenizer), or (model, image processor); this is none")
    model, other = models[0], others[0]
    kind = type(model).__name__
    task = task_of(kind)
    if task is None:
        raise Unsupported(
            f"{kind} has no head whose answer is served as text ({SERVED} are); load the model alone to serve its "
            "tensors, or SentenceTransformer(folder) for one vector a text"
        )
    of_images = task == "image-classification"
    if of_images and not isinstance(other, transformers.BaseImageProcessor):
        raise InvalidInput(f"{kind} needs an image processor beside it; the pair holds a {type(other).__name__}")
    if not of_images and not isinstance(other, transformers.PreTrainedTokenizerBase):
        raise InvalidInput(f"{kind} needs a tokenizer beside it; the pair holds a {type(other).__name__}")
    return Parts(model, task, None if of_images else other, other if of_images else None)


def _called(source: Any) -> str:
    return "image_processor" if "Image" in type(source).__name__ else "tokenizer"


def own_tokenizer(parts: Parts) -> Any:
    """A copy of the tokenizer that cuts where the model ends; the user's stays as it is. Unsupported for a slow one."""
    if not getattr(parts.tokenizer, "is_fast", False) or not hasattr(parts.tokenizer, "backend_tokenizer"):
        kind = type(parts.tokenizer).__name__
        raise Unsupported(
            f"{kind} is a tokenizer in Python, which the service cannot run: load the fast one "
            "(AutoTokenizer.from_pretrained(folder), which reads tokenizer.json), or load the model alone as tensors"
        )
    tokenizer = copy.deepcopy(parts.tokenizer)
    limits = [each for each in (parts.max_length, longest(parts.model.config, tokenizer)) if each]
    tokenizer.model_max_length = min(limits, default=_ENDLESS)
    return tokenizer


def longest(config: Any, tokenizer: Any) -> int:
    """The most tokens of a text; 0 where neither the tokenizer nor the model has a limit."""
    limits = [tokenizer.model_max_length or _ENDLESS]
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        padding = getattr(config, "pad_token_id", None)
        # Positions of these begin after that of the padding.
        shifted = any(name in config.model_type for name in ("roberta", "camembert", "longformer", "mpnet", "luke"))
        limits.append(positions - (padding or 0) - 1 if shifted else positions)
    limit = min(limits)
    return limit if limit < _ENDLESS else 0
