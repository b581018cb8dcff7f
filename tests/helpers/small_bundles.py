"""Models of texts and pictures whose answers are plain to see, without torch or transformers: each is a bundle of a
graph of two or three nodes, and a tokenizer of a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from tests import models
from workbench.core.bundle import BundleSpec, ImageSpec, Task, TextSpec, write_bundle

WORDS: dict[str, tuple[float, ...]] = {
    "good": (4.0, 0.0, 0.0),
    "bad": (0.0, 4.0, 0.0),
    "ada": (4.0, 0.0, 0.0),
    "london": (0.0, 4.0, 0.0),
    "paris": (0.0, 4.0, 0.0),
    "in": (0.0, 0.0, 4.0),
    "was": (0.0, 0.0, 4.0),
    "born": (0.0, 0.0, 4.0),
}
"""Word -> its weight for each class; other words have that of the third, "O"."""


def tokenizer() -> str:
    """Splits words at spaces and punctuation, as small letters."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel

    made: Any = Tokenizer(WordLevel({word: place for place, word in enumerate(["?", *WORDS])}, unk_token="?"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    return str(made.to_str())


def pictures(folder: Path) -> Path:
    """image -> which of red, green and blue there is most of."""
    whole = helper.make_node("ReduceMean", ["pixel_values", "axes"], ["mean"], keepdims=0)
    scaled = helper.make_node("Mul", ["mean", "four"], ["logits"])
    constants = [
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array(4, np.float32), "four"),
    ]
    graph = models.model(
        [whole, scaled],
        [models.value("pixel_values", "FP32", ("batch", 3, 8, 8))],
        [models.value("logits", "FP32", ("batch", 3))],
        constants,
    )
    spec = BundleSpec(
        task="image-classification",
        inputs=("pixel_values",),
        outputs=("logits",),
        labels=("red", "green", "blue"),
        image=ImageSpec(size=(8, 8), rescale=1 / 255),
    )
    return _written(folder / "pictures.bundle", spec, graph)


def moods(folder: Path) -> Path:
    """text -> positive, negative or neutral."""
    return _texts(folder / "moods.bundle", "text-classification", ("positive", "negative", "neutral"), "sum")


def names(folder: Path) -> Path:
    """text -> its persons and places."""
    return _texts(folder / "names.bundle", "token-classification", ("PERSON", "PLACE", "O"), "each")


def vectors(folder: Path) -> Path:
    """text -> three numbers."""
    return _texts(folder / "vectors.bundle", "sentence-embedding", (), "sum")


def answers(folder: Path) -> Path:
    """question, context -> the first place in it."""
    return _texts(folder / "answers.bundle", "question-answering", (), "spans")


def _texts(path: Path, task: Task, labels: tuple[str, ...], what: str) -> Path:
    weights = np.array([(0.0, 0.0, 4.0), *WORDS.values()], np.float32)
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1], np.int64), "axis")]
    looked_up = helper.make_node("Gather", ["weights", "input_ids"], ["found"])
    tokens = ("batch", "tokens")
    outputs: tuple[str, ...] = ("logits",)
    if what == "each":
        nodes = [looked_up, helper.make_node("Identity", ["found"], ["logits"])]
        shapes = {"logits": (*tokens, 3)}
    elif what == "sum":
        nodes = [looked_up, helper.make_node("ReduceMean", ["found", "axis"], ["logits"], keepdims=0)]
        shapes = {"logits": ("batch", 3)}
    else:
        outputs = ("starts", "ends")
        constants.append(numpy_helper.from_array(np.array(1, np.int64), "place"))
        constants.append(numpy_helper.from_array(np.array(3, np.float32), "three"))
        nodes = [
            looked_up,
            helper.make_node("Gather", ["found", "place"], ["starts"], axis=2),
            helper.make_node("Mul", ["starts", "three"], ["ends"]),
        ]
        shapes = {"starts": tokens, "ends": tokens}
    graph = models.model(
        nodes,
        [models.value("input_ids", "INT64", tokens)],
        [models.value(name, "FP32", shape) for name, shape in shapes.items()],
        constants,
    )
    text = TextSpec(max_length=64, pad_id=None)
    spec = BundleSpec(task=task, inputs=("input_ids",), outputs=outputs, labels=labels, text=text)
    return _written(path, spec, graph, tokenizer())


def _written(path: Path, spec: BundleSpec, graph: ModelProto, tokenizer: str = "") -> Path:
    inner = models.save(graph, path.with_suffix(".inner"))
    write_bundle(path, spec, inner, tokenizer)
    inner.unlink()
    return path
