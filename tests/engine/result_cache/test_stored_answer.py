"""An answer comes back as it was put, and nothing else does."""

from __future__ import annotations

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.core.model import FREE, TensorSpec
from workbench.core.tensor import Array, datatype_of
from workbench.engine.result_cache import stored_answer
from workbench.engine.result_cache.stored_answer import MAX_STORED_BYTES, open_answer, seal_answer

SECRET, KEY = bytes(range(64)), bytes(16)


def strings(*items: bytes) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


tensors = st.one_of(
    hnp.arrays(
        st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, np.dtype(ml_dtypes.bfloat16)]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        elements=st.integers(0, 1),
    ),
    st.lists(st.binary(max_size=4), max_size=4).map(lambda items: strings(*items)),
)
answers = st.dictionaries(st.text(max_size=5), tensors, max_size=3)


def specs(outputs: dict[str, Array], free: bool = True) -> list[TensorSpec]:
    return [
        TensorSpec(name, datatype_of(array), (FREE,) * array.ndim if free else array.shape)
        for name, array in outputs.items()
    ]


def sealed(outputs: dict[str, Array], key: bytes = KEY) -> bytes:
    value = seal_answer(SECRET, key, outputs, 0.005)
    assert value is not None
    return value


@given(answers, st.booleans())
def test_an_answer_comes_back(outputs: dict[str, Array], free: bool) -> None:
    found = open_answer(SECRET, KEY, sealed(outputs), specs(outputs, free))
    assert found is not None
    opened, cost_s = found
    assert (list(opened), cost_s) == (list(outputs), 0.005)
    for name, array in outputs.items():
        assert (opened[name].dtype, opened[name].shape) == (array.dtype, array.shape)
        assert opened[name].tolist() == array.tolist()


@given(answers, st.data())
def test_a_value_that_was_changed_anywhere_is_none(outputs: dict[str, Array], data: st.DataObject) -> None:
    value = bytearray(sealed(outputs))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    assert open_answer(SECRET, KEY, bytes(value), specs(outputs)) is None


@given(st.binary(max_size=200))
def test_rubbish_is_none(value: bytes) -> None:
    assert open_answer(SECRET, KEY, value, []) is None


def test_a_value_holds_for_its_key_and_secret_only() -> None:
    outputs = {"y": np.ones(3, np.float32)}
    assert open_answer(SECRET, b"\x01" * 16, sealed(outputs), specs(outputs)) is None
    assert open_answer(bytes(64), KEY, sealed(outputs), specs(outputs)) is None
    assert open_answer(SECRET, KEY, sealed(outputs)[:-1], specs(outputs)) is None


Y = TensorSpec("y", "FP32", (FREE, 2))


@pytest.mark.parametrize(
    "wanted",
    [[], [Y, Y], [TensorSpec("z", "FP32", (FREE, 2))], [TensorSpec("y", "FP64", (FREE, 2))],
     [TensorSpec("y", "FP32", (FREE, 3))], [TensorSpec("y", "FP32", (FREE,))]],
    ids=["none", "two", "name", "datatype", "size", "axes"],
)  # fmt: skip
def test_what_the_model_does_not_give_is_none(wanted: list[TensorSpec]) -> None:
    value = sealed({"y": np.ones((3, 2), np.float32)})
    assert open_answer(SECRET, KEY, value, [Y]) is not None
    assert open_answer(SECRET, KEY, value, wanted) is None


@pytest.mark.parametrize(
    ("head", "data"),
    [
        ([0.1, [["y", "FP32", [1, 2], [8]]]], bytes(9)),
        ([0.1, [["y", "FP32", [1, 2], [8]]]], bytes(7)),
        ([0.1, [["y", "FP32", [1, 2], [4]]]], bytes(4)),
        ([0.1, [["y", "FP32", [1 << 40, 2], [8]]]], bytes(8)),
        ([0.1, [["y", "FP32", [-1, 2], [8]]]], bytes(8)),
        ([0.1, [["y", "FP32", [1, 2], [16, -8]]]], bytes(8)),
        ([float("nan"), [["y", "FP32", [1, 2], [8]]]], bytes(8)),
        ([-1.0, [["y", "FP32", [1, 2], [8]]]], bytes(8)),
        ({"cost_s": 1}, b""),
        ([0.1, [["y", "FP32", "shape", [8]]]], bytes(8)),
    ],
)
def test_what_is_sealed_is_still_read_with_care(head: object, data: bytes) -> None:
    packed = msgspec.msgpack.encode(head)
    body = len(packed).to_bytes(4, "big") + packed + data
    value = b"\x01" + stored_answer._seal(SECRET, KEY, body) + body
    assert open_answer(SECRET, KEY, value, [Y]) is None


def test_a_large_answer_is_not_kept_elsewhere() -> None:
    assert seal_answer(SECRET, KEY, {"y": np.zeros(MAX_STORED_BYTES, np.uint8)}, 0.1) is None
    assert seal_answer(SECRET, KEY, {"y": strings(bytes(MAX_STORED_BYTES), b"")}, 0.1) is None
