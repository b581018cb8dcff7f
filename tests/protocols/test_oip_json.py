from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.protocols.bad_bodies import BAD_BODIES, NEEDS_MODEL, Bad, body, good_binary, good_json, tensor
from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse, ReleaseReason, Timings
from workbench.core.tensor import BYTES, DTYPES, EXTENSION_DTYPES, Array
from workbench.errors import InvalidInput, TooLarge, Unsupported, WorkbenchError
from workbench.protocols.oip_json import (
    AnswerFormat,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

LIMITS = Limits()
EXPECTED = {400: InvalidInput, 413: TooLarge, 501: Unsupported}
SHAPES = npst.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=3)
BIG_RANK = st.integers(7, 32).map(lambda rank: (1,) * rank)


def elements(datatype: str, text: bool) -> st.SearchStrategy[Any]:
    dtype = DTYPES[datatype]
    if datatype == BYTES:
        return st.text(max_size=8).map(str.encode) if text else st.binary(max_size=8)
    if dtype in EXTENSION_DTYPES:
        bits = st.integers(0, (1 << 8 * dtype.itemsize) - 1)
        return bits.map(lambda value: np.array(value, f"u{dtype.itemsize}").view(dtype)[()])
    return npst.from_dtype(dtype)


@st.composite
def arrays(draw: st.DrawFn, datatype: str, text: bool) -> Array:
    shape = draw(SHAPES | BIG_RANK)
    array = np.empty(shape, DTYPES[datatype])
    flat = array.reshape(-1)
    for index in range(flat.size):
        flat[index] = draw(elements(datatype, text))
    return array


def same(one: Array, other: Array, text: bool = False) -> bool:
    """Whether they are equal in each bit; with `text` one NaN is as good as another."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if text and one.dtype != object:
        one, other = (np.where(array != array, np.ones((), array.dtype), array) for array in (one, other))
        return one.tobytes() == other.tobytes()
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()


def decode(sent: bytes, header_length: int | None = None, limits: Limits = LIMITS) -> tuple[InferRequest, AnswerFormat]:
    return decode_request("mlp", None, sent, header_length, limits, 100.0)


def joined(encoded: Any) -> tuple[bytes, int | None]:
    parts, header_length = encoded
    return (parts if isinstance(parts, bytes) else b"".join(parts)), header_length


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@pytest.mark.parametrize("binary", [True, False])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_every_datatype_and_shape_comes_through_unchanged(data: st.DataObject, datatype: str, binary: bool) -> None:
    array = data.draw(arrays(datatype, text=not binary))
    request, answer = decode(*joined(encode_request(InferRequest("mlp", {"x": array}, id="7"), binary=binary)))
    assert same(request.inputs["x"], array, not binary) and request.id == "7" and answer.binary is binary
    found = decode_response(*joined(encode_response(InferResponse("mlp", "1", {"y": array}, "7"), answer, LIMITS)))
    assert same(found.outputs["y"], array, not binary) and (found.model, found.version, found.id) == ("mlp", "1", "7")


@pytest.mark.parametrize("bad", BAD_BODIES, ids=lambda bad: bad.name)
def test_a_bad_body_is_refused_with_what_was_wrong(bad: Bad) -> None:
    with pytest.raises(WorkbenchError) as caught:
        decode(bad.body, bad.header_length)
    assert bad.message in caught.value.message
    assert type(caught.value) is EXPECTED[bad.status]


@pytest.mark.parametrize("bad", NEEDS_MODEL, ids=lambda bad: bad.name)
def test_what_only_the_model_can_refuse_is_decoded(bad: Bad) -> None:
    decode(bad.body, bad.header_length)


@settings(deadline=None, max_examples=300)
@given(data=st.data(), binary=st.booleans())
def test_mutated_bodies_never_raise_outside_the_tree(data: st.DataObject, binary: bool) -> None:
    sent, header_length = good_binary() if binary else (good_json(), None)
    mutated = bytearray(sent)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        match data.draw(st.sampled_from(["flip", "insert", "delete", "truncate"])):
            case "flip" if at < len(mutated):
                mutated[at] ^= data.draw(st.integers(1, 255))
            case "insert":
                mutated[at:at] = data.draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del mutated[at : at + 3]
            case _:
                del mutated[at:]
    if header_length is not None and data.draw(st.booleans()):
        header_length = data.draw(st.integers(-5, len(mutated) + 5) | st.integers())
    for read in (lambda: decode(bytes(mutated), header_length), lambda: decode_response(bytes(mutated), header_length)):
        try:
            read()
        except WorkbenchError:
            pass


def test_lists_nested_as_the_shape_says_are_flattened_in_row_major_order() -> None:
    request, _ = decode(body(tensor(shape=[2, 2], data=[[1, 2], [3, 4]])))
    assert request.inputs["x"].tolist() == [[1, 2], [3, 4]]


def test_the_largest_fp32_is_taken_in_its_shortest_form() -> None:
    request, _ = decode(body(tensor(shape=[1], data=[3.4028235e38])))
    assert request.inputs["x"][0] == np.finfo(np.float32).max


def test_an_unaligned_tensor_is_copied_and_an_aligned_one_is_not() -> None:
    found = set()
    for pad in range(4):
        head = body(tensor(data=None, parameters={"binary_data_size": 64})) + b" " * pad
        array = decode(head + np.arange(16, dtype=np.float32).tobytes(), len(head))[0].inputs["x"]
        assert array.flags.aligned and array.tolist() == [list(range(16))]
        found.add(array.flags.writeable)
    assert found == {True, False}


def test_the_parameters_are_read_and_unknown_ones_kept() -> None:
    request, answer = decode(body(parameters={"priority": 3, "timeout": 2_000_000, "timings": True, "mine": "a"}))
    assert (request.priority, request.deadline, dict(request.parameters)) == (3, 102.0, {"mine": "a"})
    assert answer.timings and not answer.binary
    assert decode(body(parameters={"timeout": 0}))[0].deadline is None


def test_each_output_may_choose_its_own_form() -> None:
    asked = [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}]
    request, answer = decode(body(parameters={"binary_data_output": True}, outputs=asked))
    assert request.outputs == ("a", "b")
    parts, header_length = encode_response(
        InferResponse("mlp", "1", {"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)}), answer, LIMITS
    )
    assert len(parts) == 2 and header_length == len(parts[0])


def test_timings_come_back_to_the_client() -> None:
    timings = Timings(1e-3, 2e-3, 3e-3, 4e-3, 8, 2, ReleaseReason.FULL)
    response = InferResponse("mlp", "1", {}, timings=timings)
    found = decode_response(*joined(encode_response(response, AnswerFormat(timings=True), LIMITS))).timings
    assert found.total_s == pytest.approx(timings.total_s, abs=1e-6)
    assert (found.batch_size, found.batch_requests, found.release_reason) == (8, 2, ReleaseReason.FULL)


WORDS = np.array([[np.nan, np.inf, -np.inf, 0.5]], np.float32)


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_nan_and_infinities_are_bare_words_as_triton_has_them(datatype: str) -> None:
    response = InferResponse("mlp", "1", {"null": WORDS.astype(DTYPES[datatype])})
    found, _ = joined(encode_response(response, AnswerFormat(), LIMITS))
    assert b'"data":[NaN,Infinity,-Infinity,0.5]' in found
    np.testing.assert_array_equal(json.loads(found)["outputs"][0]["data"], WORDS[0])


def test_strict_json_has_them_as_strings() -> None:
    strict, _ = joined(encode_response(InferResponse("m", "1", {"y": WORDS}), AnswerFormat(), LIMITS, strict=True))
    assert b'"data":["NaN","Infinity","-Infinity",0.5]' in strict
    assert same(decode_response(strict, None).outputs["y"], WORDS)
    sent = body(tensor(shape=[1, 4], data=["NaN", "Infinity", "-Infinity", 0.5]))
    assert same(decode_request("m", None, sent, None, LIMITS, 0.0, strict=True)[0].inputs["x"], WORDS)
    bare = sent.replace(b'"NaN"', b"NaN")
    with pytest.raises(InvalidInput, match="strict_json"):
        decode_request("m", None, bare, None, LIMITS, 0.0, strict=True)


@pytest.mark.parametrize(
    "words",
    ["NaN,Infinity,-Infinity", "NaN, Inf,-Inf", '"NaN","Infinity","-Infinity"', "null,Infinity,-Infinity"],
)
@pytest.mark.parametrize("form", ["[%s,0.5]", "[ [ %s, 0.5 ] ]"])
def test_nan_and_infinities_are_read_in_each_form(words: str, form: str) -> None:
    sent = body(tensor(name="NaN, Inf", shape=[1, 4], data="@")).replace(b'"@"', (form % words).encode())
    assert same(decode(sent)[0].inputs["NaN, Inf"], WORDS)


def test_a_request_may_ask_which_inputs_were_rounded() -> None:
    exact, rounded = tensor(name="a", datatype="FP16", shape=[1, 2], data=[[0.5, float("nan")]]), tensor(name="b")
    rounded |= {"datatype": "BF16", "data": [0.1] * 16}
    for inputs, expected in (((exact,), ""), ((exact, rounded), "b")):
        request, answer = decode(body(*inputs, parameters={"report_narrowed": True, "mine": 1}))
        assert answer.narrowed == expected and dict(request.parameters) == {"mine": 1}
        told, _ = joined(encode_response(InferResponse("m", "1", {}), answer, LIMITS))
        assert json.loads(told)["parameters"] == {"narrowed": expected}
    assert decode(body(rounded))[1].narrowed is None


def test_an_output_named_null_is_no_nan() -> None:
    assert b"null" in joined(encode_response(InferResponse("m", "1", {"null": np.ones(1)}), AnswerFormat(), LIMITS))[0]


def test_caps_are_held() -> None:
    text = body(tensor(datatype="BYTES", shape=[1], data=["abcd"]))
    with pytest.raises(TooLarge, match="max_string_bytes"):
        decode(text, limits=Limits(max_string_bytes=3))
    with pytest.raises(TooLarge, match="max_response_bytes"):
        encode_response(InferResponse("mlp", "1", {"y": np.ones(4)}), AnswerFormat(), Limits(max_response_bytes=31))


def test_an_answer_that_cannot_be_read_is_not_the_callers_fault() -> None:
    with pytest.raises(WorkbenchError, match="cannot be read") as caught:
        decode_response(b"{}", None)
    assert not isinstance(caught.value, InvalidInput)
