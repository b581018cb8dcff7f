"""What comes back of a model that is tried by hand is what a page can show."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest

from workbench.core.model import Signature, TensorSpec
from workbench.errors import InvalidInput
from workbench.live import tryout
from workbench.live.tryout import SHOWN_CHARACTERS, SHOWN_ELEMENTS, TryRequest, shown


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        ((3, 4), (3, 4)),
        ((5000,), (1000,)),
        ((400, 10), (100, 10)),
        ((2, 3, 224, 224), (1, 1, 4, 224)),
        ((0, 4), (0, 4)),
    ],
)
def test_of_a_large_tensor_the_beginning_is_shown(shape: tuple[int, ...], kept: tuple[int, ...]) -> None:
    tensor = shown("x", np.zeros(shape, np.int64))
    assert tensor["shape"] == list(shape)
    assert np.shape(tensor["data"]) == (kept if kept[0] else (0,))
    assert np.size(tensor["data"]) <= SHOWN_ELEMENTS
    assert tensor["cut"] is (shape != kept)


@pytest.mark.parametrize(
    ("array", "datatype", "data"),
    [
        (np.array([0.1, -2.5e-8], np.float32), "FP32", [0.1, -2.5e-8]),
        (np.array([0.1], np.float64), "FP64", [0.1]),
        (np.array([0.1], np.float16), "FP16", [0.1]),
        (np.array([0.5, 3.0], ml_dtypes.bfloat16), "BF16", [0.5, 3.0]),
        (np.array([np.nan, np.inf, -np.inf, 1], np.float32), "FP32", ["NaN", "Infinity", "-Infinity", 1.0]),
        (np.array([True, False]), "BOOL", [True, False]),
        (np.array([2**63], np.uint64), "UINT64", [2**63]),
        (np.array([b"caf\xc3\xa9", b"\xff"], object), "BYTES", ["café", "\ufffd"]),
        (np.array(3, np.int8), "INT8", 3),
    ],
)
def test_values_are_shown_as_json_has_them(array: np.ndarray[Any, Any], datatype: str, data: object) -> None:
    tensor = shown("x", array)
    assert (tensor["datatype"], tensor["data"], tensor["cut"]) == (datatype, data, False)
    assert msgspec.json.decode(msgspec.json.encode(tensor))["data"] == data


def test_texts_that_are_long_together_are_cut() -> None:
    whole = shown("x", np.array([b"a" * SHOWN_CHARACTERS], object))
    assert (whole["data"], whole["cut"]) == (["a" * SHOWN_CHARACTERS], False)
    for rows, each in ((1, SHOWN_CHARACTERS), (4, SHOWN_CHARACTERS // 4)):
        for letter in (b"a", "€".encode()):
            tensor = shown("x", np.array([letter * (each + 1)] * rows, object))
            assert tensor["data"] == [letter.decode() * each] * rows
            assert tensor["cut"]


def test_files_are_rows_of_their_inputs() -> None:
    signature = Signature((TensorSpec("a", "BYTES", (-1,)), TensorSpec("b", "BYTES", (-1, 1))), ())
    inputs = tryout._inputs(TryRequest(files={"b": 3, "a": 2}), signature, "m", memoryview(b"\xffbbaa"))
    assert (inputs["a"].tolist(), inputs["b"].tolist()) == ([b"aa"], [[b"\xffbb"]])
    mixed = tryout._inputs(TryRequest({"b": [["text"]]}, files={"a": 2}), signature, "m", b"aa")
    assert (mixed["a"].tolist(), mixed["b"].tolist()) == ([b"aa"], [[b"text"]])


@pytest.mark.parametrize(
    ("asked", "content", "words"),
    [
        (TryRequest(files={"a": 2}), b"aaa", "2 bytes are told in the JSON, and 3 follow it"),
        (TryRequest(files={"a": 5, "b": -2}), b"aaa", "follow it"),
        (TryRequest(), b"aaa", "0 bytes are told in the JSON, and 3 follow it"),
        (TryRequest({"a": ["x"]}, files={"a": 3}), b"aaa", "given twice"),
        (TryRequest(files={"c": 3}), b"aaa", "'c'"),
    ],
)
def test_files_that_do_not_fit_the_json_are_refused(asked: TryRequest, content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        tryout._inputs(asked, Signature((TensorSpec("a", "BYTES", (-1,)),), ()), "m", content)


def test_what_is_shown_for_nan_may_be_typed_again() -> None:
    signature = Signature((TensorSpec("x", "FP32", (-1, 4)), TensorSpec("name", "BYTES", (-1,))), ())
    asked = TryRequest({"x": [[None, "NaN", "Infinity", "-Infinity"]], "name": ["NaN"]})
    inputs = tryout._inputs(asked, signature, "m")
    np.testing.assert_array_equal(inputs["x"], np.array([[np.nan, np.nan, np.inf, -np.inf]], np.float32))
    assert inputs["name"].tolist() == [b"NaN"]


def test_random_inputs_are_not_larger_than_this_process_can_hold() -> None:
    signature = Signature((TensorSpec("x", "FP32", (-1, 4)),), ())
    assert tryout._inputs(TryRequest(rows=1 << 20), signature, "m")["x"].shape == (1 << 20, 4)
    with pytest.raises(InvalidInput, match="try fewer"):
        tryout._inputs(TryRequest(rows=(1 << 20) + 1), signature, "m")
