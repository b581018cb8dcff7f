"""Bundles that are made by hand around small graphs: how texts are read, padded and answered."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from workbench.config import ModelConfig
from workbench.core.bundle import BundleSpec, TextSpec, write_bundle
from workbench.core.tensor import Array
from workbench.engine.warmup import warm_up
from workbench.errors import ExecutionError, InvalidInput, ModelError
from workbench.runtimes.bundle_session import BundleSession, open_bundle
from workbench.runtimes.bundle_tasks import LONGEST_ANSWER, best_span
from workbench.runtimes.bundle_text import softmax

WORDS = ("[PAD]", "[CLS]", "one", "two", "ten", "grüße", "[UNK]")
TEXT = TextSpec(max_length=100, pad_id=0)
Opened = Callable[..., BundleSession]


def tokenizer() -> str:
    found = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    return str(found.to_str())


def graph() -> bytes:
    """logits: the sum of a row's ids that are not masked, and the length to which it was padded."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"])
        for name in ("input_ids", "attention_mask")
    }
    zero, one = (numpy_helper.from_array(np.array([number]), name) for number, name in ((0, "zero"), (1, "one")))
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"]),
        helper.make_node("Mul", ["input_ids", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["ones"]),
        helper.make_node("ReduceSum", ["ones", "one"], ["length"]),
        helper.make_node("Concat", ["sum", "length"], ["both"], axis=1),
        helper.make_node("Cast", ["both"], ["logits"], to=TensorProto.FLOAT),
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    made = helper.make_graph(nodes, "g", list(values.values()), [logits], [zero, one])
    return helper.make_model(made, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def call(text: TextSpec = TEXT, content: str | None = None, **more: Any) -> BundleSession:
        said: dict[str, Any] = {
            "task": "text-classification",
            "inputs": ("input_ids", "attention_mask"),
            "outputs": ("logits",),
            "labels": ("sum", "length"),
            "activation": "none",
            "text": text,
        }
        (tmp_path / "inner.onnx").write_bytes(graph())
        content = tokenizer() if content is None else content
        write_bundle(tmp_path / "m.bundle", BundleSpec(**{**said, **more}), tmp_path / "inner.onnx", content)
        return open_bundle(tmp_path / "m.bundle", ModelConfig(device="cpu"))

    return call


def scores(session: BundleSession, *texts: str | bytes) -> Array:
    rows = np.empty(len(texts), object)
    rows[:] = [text if isinstance(text, bytes) else text.encode() for text in texts]
    return session.run({"text": rows}, ["scores"])[0]


def words(count: int) -> str:
    return " ".join(["one"] * (count - 1))


def test_a_text_is_padded_to_a_length_of_its_own_whatever_lies_beside_it(opened: Opened) -> None:
    session = opened()
    texts = [words(count) for count in (33, 2, 4, 5, 9, 90, 64, 65, 2)]
    alone = np.concatenate([scores(session, text) for text in texts])
    assert np.array_equal(scores(session, *texts), alone)
    assert np.array_equal(scores(session, *reversed(texts)), alone[::-1])
    assert alone[:, 1].tolist() == [40, 4, 4, 8, 12, 96, 64, 80, 4]
    assert alone[:3, 0].tolist() == [1 + 2 * 32, 1 + 2, 1 + 2 * 3]
    assert scores(session).shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (TextSpec(max_length=9, pad_id=0), 9),
        (TextSpec(max_length=0, pad_id=0), 12),
        (TextSpec(max_length=0, pad_id=None), 10),
    ],
)
def test_no_text_is_longer_than_the_model_takes_nor_padded_without_a_token_for_it(
    opened: Opened, text: TextSpec, length: int
) -> None:
    assert scores(opened(text), words(10)).tolist()[0][1] == length


@pytest.mark.parametrize(("side", "kept"), [("right", ("one", "two")), ("left", ("two", "ten"))])
def test_a_long_text_is_cut_at_its_side(opened: Opened, side: Any, kept: tuple[str, str]) -> None:
    for pad in ("left", "right"):
        text = TextSpec(max_length=3, pad_id=0, cut_side=side, pad_side=pad)  # type: ignore[arg-type]
        assert scores(opened(text), "one two ten")[0, 0] == 1 + sum(map(WORDS.index, kept))


def test_a_text_is_made_ready_as_its_model_says(opened: Opened) -> None:
    text = TextSpec(max_length=0, pad_id=0, prompt="ten ", strip=True, lower=True)
    assert scores(opened(text), "\n GRÜSSE Grüße ")[0, 0] == 1 + sum(map(WORDS.index, ("ten", "[UNK]", "grüße")))


def test_a_row_that_cannot_be_read_is_named(opened: Opened) -> None:
    with pytest.raises(InvalidInput, match="row 1 of input 'text' is not UTF-8"):
        scores(opened(), "one", b"\xff")
    bare = Tokenizer(models.WordLevel({"one": 0}))
    with pytest.raises(InvalidInput, match="row 1 has no token in it"):
        scores(opened(content=bare.to_str()), "one", "")


def test_made_up_texts_show_that_rows_are_independent(opened: Opened) -> None:
    found = warm_up(opened(), "auto", 8)
    assert (found.batched, found.evidence) == (True, "sampled")


def test_a_text_over_which_a_tokenizers_pattern_backtracks_without_end_is_refused(opened: Opened) -> None:
    found = Tokenizer.from_str(tokenizer())
    found.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+b"), "isolated")
    session = opened(content=found.to_str())
    with pytest.raises(
        ExecutionError, match=r"the tokenizer failed: Onig: Regex search error: retry-limit-in-match over"
    ):
        scores(session, "a" * 100)
    assert scores(session, "one").tolist() == [[3.0, 4.0]]


def test_a_panic_of_the_tokenizer_is_an_error_of_that_request(opened: Opened) -> None:
    class PanicException(BaseException):
        pass

    class Broken:
        def encode_batch_fast(self, texts: list[str]) -> None:
            raise PanicException("index out of bounds")

    session = opened()
    session._task._texts.tokenizer = Broken()  # type: ignore[attr-defined]
    with pytest.raises(ExecutionError, match="the tokenizer failed: index out of bounds"):
        scores(session, "one")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"content": '{"model": {"type": "Evil"}}'}, r"tokenizer.json cannot be read"),
        ({"inputs": ("input_ids",)}, "the bundle's graph takes"),
        ({"outputs": ("scores",)}, "has no output 'scores'"),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_refused(opened: Opened, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        opened(**more)


def test_a_graph_with_other_classes_than_its_labels_fails_in_words(opened: Opened) -> None:
    with pytest.raises(ExecutionError, match="and it has 3 labels"):
        scores(opened(labels=("a", "b", "c")), "one")


def test_a_service_without_tokenizers_says_what_to_install(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModelError, match="pip install tokenizers"):
        opened()


def test_a_text_of_a_million_characters_is_refused_and_many_are_split_a_part_at_a_time(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runtimes.bundle_text.MOST_CHARACTERS", 30)
    texts = ["one two", "ten ten ten ten", "two two two two", "one"] * 3
    assert scores(opened(), *texts)[:, 0].tolist() == [6, 17, 13, 3] * 3
    with pytest.raises(InvalidInput, match="row 1 of input 'text' has 39 characters; 30 are read at most"):
        scores(opened(), "one", words(11))


def every_span(starts: Array, ends: Array, inside: Array) -> tuple[int, int, float]:
    """What transformers' question answering chose: the first of the likeliest in a table of all spans."""
    first, last = (softmax(np.where(inside, each, -np.inf)) for each in (starts, ends))
    table = np.tril(np.triu(np.outer(first, last)), LONGEST_ANSWER - 1)
    row, column = np.unravel_index(table.argmax(), table.shape)
    return int(row), int(column), float(table[row, column])


def test_the_best_span_is_that_of_a_table_of_all_spans() -> None:
    rng = np.random.default_rng(0)
    for tokens in (1, 2, 14, 15, 16, 90):
        for _ in range(60):
            starts, ends = np.round(rng.normal(0, 2, (2, tokens)), int(rng.integers(0, 4))).astype(np.float32)
            inside = rng.random(tokens) < 0.7
            inside[rng.integers(tokens)] = True
            assert best_span(starts, ends, inside) == every_span(starts, ends, inside)


def test_the_best_span_of_many_tokens_takes_memory_in_proportion() -> None:
    tokens = 20_000
    starts, ends = np.random.default_rng(0).normal(0, 2, (2, tokens)).astype(np.float32)
    tracemalloc.start()
    best_span(starts, ends, np.ones(tokens, bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * tokens
