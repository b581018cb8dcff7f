"""Long data is read as short data is, and refused before anything is made of it."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.protocols.bad_bodies import body, tensor
from workbench.config import Limits
from workbench.core.tensor import DTYPES, Array
from workbench.errors import InvalidInput
from workbench.protocols import json_blocks, json_cutting, oip_json
from workbench.protocols.json_cutting import LARGE
from workbench.protocols.oip_json import decode_request

NUMBERS = sorted(name for name in DTYPES if name not in ("BF16", "BYTES"))


def read(sent: bytes) -> Array:
    return decode_request("mlp", None, sent, None, Limits(), 0.0)[0].inputs["x"]


@pytest.mark.parametrize("datatype", NUMBERS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_blocks_come_to_the_same_as_the_whole(data: st.DataObject, datatype: str) -> None:
    shapes = npst.array_shapes(min_dims=1, max_dims=5, max_side=4)
    array = data.draw(npst.arrays(DTYPES[datatype], shapes, elements=npst.from_dtype(DTYPES[datatype])))
    values = array.tolist() if data.draw(st.booleans()) else array.reshape(-1).tolist()
    sent = body(tensor(datatype=datatype, shape=list(array.shape), data=values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oip_json, "LARGE", 0)
        patch.setattr(json_cutting, "_CUT_FROM", 0)
        patch.setattr(json_blocks, "BLOCK", data.draw(st.integers(1, 40)))
        found = read(sent)
    assert found.dtype == array.dtype and found.shape == array.shape
    np.testing.assert_array_equal(found, array)


COUNT = 40_000
ONES: list[Any] = [1] * COUNT
WORDS: list[Any] = ['a,"\\[é'] * COUNT


def test_long_data_of_each_kind_is_taken() -> None:
    assert read(body(tensor(shape=[COUNT], data=ONES))).sum() == COUNT
    assert read(body(tensor(shape=[COUNT, 1], data=[[1]] * COUNT))).shape == (COUNT, 1)
    sent = body(tensor(shape=[COUNT], datatype="BF16", data=[*ONES[3:], 0.1, "NaN", float("-inf")]))
    expected = np.array([*ONES[3:], 0.1, np.nan, -np.inf]).astype(DTYPES["BF16"])
    np.testing.assert_array_equal(read(sent).astype(float), expected.astype(float))
    for nested in (WORDS, [[word] for word in WORDS]):
        words = read(body(tensor(shape=[COUNT], datatype="BYTES", data=nested)))
        assert len(words) == COUNT and set(words) == {'a,"\\[é'.encode()}


@pytest.mark.parametrize(
    ("shape", "datatype", "data", "message"),
    [
        ([COUNT], "FP32", [*ONES, 1], "shape [40000] holds 40000 elements, and data has 40001"),
        ([0], "FP32", ONES, "holds 0 elements, and data has 40000"),
        ([COUNT], "FP32", [*ONES[:-1], "no"], '"no" at [39999] does not fit FP32'),
        ([COUNT], "INT8", [*ONES[1:], 300], "300 at [39999] does not fit INT8, which takes whole numbers -128 to 127"),
        ([COUNT], "UINT64", [*ONES[1:], 1 << 64], "out of range for UINT64"),
        ([COUNT], "BOOL", ONES, "1 at [0] does not fit BOOL, which takes true or false"),
        ([COUNT], "FP32", [{"a": 1}] * COUNT, '{"a": 1} at [0] does not fit FP32'),
        ([COUNT], "FP32", [[1, 1], [1], *ONES[3:]], "data is ragged"),
        ([COUNT], "FP32", [[1]] * (COUNT - 1) + [1], "data is ragged"),
        ([COUNT], "FP32", [[]] * COUNT, "an element is missing"),
        ([1], "BYTES", WORDS, "shape [1] holds 1 elements, and data has 40000"),
        ([COUNT], "BYTES", [[]] * COUNT, "an element is missing"),
        ([COUNT], "BYTES", [["a"]] * (COUNT - 1) + ["a"], "data is ragged"),
        ([COUNT], "BYTES", ONES, "1 at [0] does not fit BYTES, which takes strings"),
        ([COUNT], "BYTES", [*WORDS[1:], 1], "1 at [39999] does not fit BYTES, which takes strings"),
    ],
)
def test_long_data_is_refused_with_what_was_wrong(shape: list[int], datatype: str, data: Any, message: str) -> None:
    sent = body(tensor(shape=shape, datatype=datatype, data=data))
    assert len(sent) > LARGE
    with pytest.raises(InvalidInput) as caught:
        read(sent)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("shape", "datatype", "element"),
    [([1], "FP32", "0"), ([1], "FP32", "[]"), ([1], "FP32", "{}"), ([1], "BYTES", '"a"'), ([1], "BYTES", "[]")],
)
def test_more_elements_than_the_shape_holds_are_never_made(shape: list[int], datatype: str, element: str) -> None:
    sent = body(tensor(shape=shape, datatype=datatype, data=["?"]))
    sent = sent.replace(b'"?"', ",".join([element] * (1 << 19)).encode())
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            read(sent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The brackets alone are looked at beside the text, to see how deep they are.
    assert peak < 3 * len(sent) + 8 * (1 << 20)


def test_a_long_list_takes_little_beside_its_text_and_its_array() -> None:
    sent = body(tensor(shape=[1 << 16, 1, 1], data=np.zeros((1 << 16, 1, 1), int).tolist()))
    tracemalloc.start()
    try:
        found = read(sent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(sent) + found.nbytes + 8 * (1 << 20)
    assert json.loads(sent)["inputs"][0]["shape"] == list(found.shape)


WORDS_AND_SIGNS = '[ ] , { } " \\ 0 1 NaN null "NaN" [] : e - Infinity "data":[ \\" \\\\ true'
PIECES = [*WORDS_AND_SIGNS.encode().split(b" "), b" ", b"\n", b"\xff"]
SEEDS = [
    body(tensor(shape=[2, 2], data=[[1, 2], [3, 4]])),
    body(tensor(shape=[3], data=[1.5, -2e3, 3])),
    body(tensor(shape=[2, 1], datatype="BYTES", data=[['a,"]['], ["é\\"]])),
    body(tensor(shape=[2], datatype="BOOL", data=[True, False])),
    body(tensor(shape=[3], data=["NaN", 1, "-Infinity"])),
    body(tensor(shape=[3], data=[float("nan"), float("inf"), 1])),
    body(tensor(name="a", shape=[2], data=[1, 2]), tensor(name="b", datatype="INT8", shape=[0], data=[])),
]


@pytest.mark.parametrize("seed", range(4))
def test_what_the_decoder_refuses_is_refused_in_blocks_too(seed: int) -> None:
    """The blocks are read without having been decoded as a whole, so nothing may slip through between them."""
    dice = random.Random(seed)
    taken = 0
    for _ in range(700):
        sent = bytearray(dice.choice(SEEDS))
        for _ in range(dice.randrange(1, 4)):
            at = min(len(sent), sent.find(b"data") + dice.randrange(40))
            if dice.random() < 0.6:
                sent[at:at] = dice.choice(PIECES)
            else:
                del sent[at : at + dice.randrange(1, 3)]
        whole = outcome(bytes(sent))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(oip_json, "LARGE", 0)
            patch.setattr(json_cutting, "_CUT_FROM", 0)
            patch.setattr(json_blocks, "BLOCK", dice.randrange(1, 60))
            assert outcome(bytes(sent)) == whole, bytes(sent)
        taken += whole is not None
    assert taken > 5


def outcome(sent: bytes) -> str | None:
    """The tensors, None where they were refused."""
    try:
        inputs = decode_request("mlp", None, sent, None, Limits(), 0.0)[0].inputs
    except InvalidInput:
        return None
    return repr({name: (array.dtype, array.shape, array.tolist()) for name, array in inputs.items()})
