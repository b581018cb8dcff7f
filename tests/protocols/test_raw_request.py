from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.config import Limits
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.errors import InvalidInput, TooLarge, Unavailable
from workbench.protocols.raw_request import decode_raw_request


def decode(body: bytes, *specs: TensorSpec, limits: Limits = Limits()) -> InferRequest:  # noqa: B008
    status = ModelStatus("m", "1", ModelState.READY, signature=Signature(specs, ()))
    return decode_raw_request(status, None, body, limits)


@pytest.mark.parametrize(
    ("shape", "elements", "found"),
    [
        ((4,), 4, (4,)),
        ((-1, 4), 12, (3, 4)),
        ((-1, 2, -1), 6, (1, 2, 3)),
        ((2, -1), 6, (2, 3)),
        ((), 1, ()),
        ((-1,), 0, (0,)),
    ],
)
def test_the_length_of_the_body_decides_the_open_size(
    shape: tuple[int, ...], elements: int, found: tuple[int, ...]
) -> None:
    values = np.arange(elements, dtype=np.float32)
    array = decode(values.tobytes(), TensorSpec("x", "FP32", shape)).inputs["x"]
    np.testing.assert_array_equal(array, values.reshape(found))


def test_a_string_is_the_body_itself() -> None:
    array = decode(b"\0\xff text", TensorSpec("x", "BYTES", (-1, 1))).inputs["x"]
    assert array.tolist() == [[b"\0\xff text"]]


@pytest.mark.parametrize(
    ("specs", "body", "said"),
    [
        ((TensorSpec("x", "FP32", (-1, 4)),), b"12345", "does not fit 5 bytes"),
        ((TensorSpec("x", "FP32", (2, 4)),), b"1234", "takes 32 bytes"),
        ((TensorSpec("x", "FP32", (-1, -1, -1)),), b"1234", "cannot say which sizes"),
        ((TensorSpec("x", "FP32", (-1, 0)),), b"1234", "does not fit"),
        ((TensorSpec("x", "BYTES", (-1, 2)),), b"1234", "one BYTES element"),
        ((TensorSpec("x", "FP32", (1,)), TensorSpec("z", "FP32", (1,))), b"1234", "takes 2"),
        ((), b"", "takes 0"),
        ((TensorSpec("x", "BOOL", (-1,)),), b"\2", "0 or 1"),
    ],
)
def test_what_does_not_fit_is_refused(specs: tuple[TensorSpec, ...], body: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        decode(body, *specs)


def test_caps_hold() -> None:
    with pytest.raises(TooLarge, match="max_string_bytes"):
        decode(b"12345", TensorSpec("x", "BYTES", (1,)), limits=Limits(max_string_bytes=4))
    with pytest.raises(TooLarge, match="max_elements"):
        decode(bytes(20), TensorSpec("x", "INT8", (-1,)), limits=Limits(max_elements=4))
    with pytest.raises(Unavailable):
        decode_raw_request(ModelStatus("m", "1", ModelState.LOADING), None, b"", Limits())


@given(st.binary(max_size=64), st.lists(st.integers(-1, 3), max_size=4))
def test_no_body_does_more_than_be_refused(body: bytes, shape: list[int]) -> None:
    try:
        array = decode(body, TensorSpec("x", "INT16", tuple(shape))).inputs["x"]
    except InvalidInput:
        return
    assert array.tobytes() == body
