from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.config import Limits
from workbench.core.messages import InferRequest
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, TooLarge, WorkbenchError
from workbench.protocols import dictionary, oip_json
from workbench.protocols.oip_tensors import Tensor, read_tensors

LIMITS = Limits()


def texts(*elements: bytes) -> Array:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def read(data: bytes, shape: list[int], words: object, datatype: str = "BYTES", limits: Limits = LIMITS) -> Array:
    parameters = {"binary_data_size": len(data), dictionary.PARAMETER: words}
    tensor = Tensor("t", shape, datatype, parameters)  # type: ignore[arg-type]
    return read_tensors("input", [tensor], data, 0, limits)["t"]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=9), st.integers(dictionary.MANY, 3000), st.randoms())
def test_texts_that_repeat_come_back_as_they_were(few: list[bytes], count: int, random: object) -> None:
    array = texts(*(random.choice(few) for _ in range(count))).reshape(count, 1)  # type: ignore[attr-defined]
    found = dictionary.encode(array, "input 't'")
    assert found is not None
    data, words = found
    assert words <= len(few)
    assert len(data) < 2 * count + 24 * len(few) + 1
    back = read(data, [count, 1], words)
    assert back.shape == (count, 1)
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize(
    "array",
    [
        texts(*[b"a"] * (dictionary.MANY - 1)),
        texts(*(b"%d" % number for number in range(2000))),
        texts(*["a"] * 2000),  # type: ignore[list-item]  # as str, which a client has encoded before
        texts(*[b"x" * 40_000] * 2000),
    ],
    ids=["few elements", "all different", "no bytes", "too long together"],
)
def test_other_texts_are_sent_as_they_are(array: Array) -> None:
    assert dictionary.encode(array, "input 't'") is None


WORDS = b"\1\0\0\0a" + b"\2\0\0\0bc"
CODES = np.array([0, 1, 1], "<u2").tobytes()


def test_the_layout_is_the_one_that_is_documented() -> None:
    assert read(WORDS + CODES, [3], 2).tolist() == [b"a", b"bc", b"bc"]
    assert read(b"\0\0\0\0", [0, 4], 1).shape == (0, 4)


@pytest.mark.parametrize(
    ("data", "shape", "words", "error", "said"),
    [
        (WORDS + CODES, [3], 0, InvalidInput, "dictionary_size must be a whole number from 1 to 65536, got '0'"),
        (WORDS + CODES, [3], 65_537, InvalidInput, "from 1 to 65536, got '65537'"),
        (WORDS + CODES, [3], True, InvalidInput, "got 'True'"),
        (WORDS + CODES, [3], "2", InvalidInput, "got '2'"),
        (WORDS + CODES, [3], 3, InvalidInput, "3 BYTES elements take 12 bytes at least; its binary data has 11"),
        (WORDS + CODES, [3], 1, InvalidInput, "dictionary: 6 bytes are left over after its 1 elements"),
        (WORDS + CODES[:-1], [3], 2, InvalidInput, "element 1 says 2 bytes, and 1 are left"),
        (CODES, [4], 1, InvalidInput, "4 elements of a dictionary take 8 bytes at least; its binary data has 6"),
        (WORDS + b"\0\0\2\0\1\0", [3], 2, InvalidInput, "element 1 is number 2 of its dictionary, whose last is 1"),
        (b"\1\0\0\0a" + b"\xff\xff\0\0" + CODES, [3], 2, InvalidInput, "element 1 says 65535 bytes, and 0 are left"),
    ],
)
def test_what_does_not_fit_is_refused(data: bytes, shape: list[int], words: object, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        read(data, shape, words)


def test_a_small_body_does_not_become_a_large_tensor() -> None:
    data = b"\0\0\4\0" + b"x" * (1 << 18) + np.zeros(200_000, "<u2").tobytes()
    with pytest.raises(TooLarge, match="stands for 52428800000 bytes; 33554432 are the most"):
        read(data, [200_000], 1)
    with pytest.raises(TooLarge, match="max_string_bytes is 10"):
        read(b"\13\0\0\0" + b"x" * 11 + CODES[:2], [1], 1, limits=Limits(max_string_bytes=10))


def test_only_text_has_a_dictionary() -> None:
    with pytest.raises(InvalidInput, match="only a BYTES tensor may have a dictionary; this one is FP32"):
        read(bytes(8), [2], 2, "FP32")


@given(st.binary(max_size=60), st.lists(st.integers(0, 9), max_size=2), st.integers(-1, 9))
def test_any_bytes_are_read_or_refused(data: bytes, shape: list[int], words: int) -> None:
    try:
        array = read(data, shape, words)
    except WorkbenchError:
        return
    assert array.shape == tuple(shape)


def test_a_request_uses_it_only_where_the_server_reads_it() -> None:
    array = texts(*[b"a", b"b"] * 1000)
    request = InferRequest("m", {"t": array, "x": np.zeros(3, np.float32)})
    for dictionaries in (False, True):
        parts, length = oip_json.encode_request(request, dictionaries=dictionaries)
        head = msgspec.json.decode(parts[0])
        assert (dictionary.PARAMETER in head["inputs"][0]["parameters"]) is dictionaries
        assert dictionary.PARAMETER not in head["inputs"][1]["parameters"]
        back, _ = oip_json.decode_request("m", None, b"".join(map(bytes, parts)), length, LIMITS, 0.0)
        assert back.inputs["t"].tolist() == array.tolist()
