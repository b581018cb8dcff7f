"""Equal requests have one key, and whatever may change an answer gives another one."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.core.messages import InferRequest, Parameter
from workbench.core.tensor import Array
from workbench.engine.result_cache.request_key import KEY_BYTES, MAX_INPUT_BYTES, SECRET_BYTES, RequestKeys

SECRET = bytes(range(SECRET_BYTES))
KEYS = RequestKeys(SECRET, "m", "1", "epoch")

texts = st.text(max_size=4)
byte_items = st.lists(st.binary(max_size=3), max_size=4)


def bytes_tensor(*items: bytes) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


numbers = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.uint8, np.bool_, np.dtype(ml_dtypes.bfloat16)]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=st.integers(0, 1),
)
tensors = st.one_of(numbers, byte_items.map(lambda items: bytes_tensor(*items)))
inputs = st.dictionaries(texts, tensors, min_size=1, max_size=3)
parameters = st.dictionaries(texts, st.one_of(st.booleans(), st.integers(-5, 5), st.floats(-2, 2), texts), max_size=2)
scopes = st.one_of(st.none(), texts)
asked = st.tuples(inputs, parameters, st.lists(texts, max_size=3).map(tuple), scopes)
Asked = tuple[Mapping[str, Array], Mapping[str, Parameter], tuple[str, ...], str | None]


def key(asked: Asked, keys: RequestKeys = KEYS) -> bytes | None:
    tensors, values, outputs, scope = asked
    return keys.key(InferRequest("m", tensors, parameters=values), outputs, scope)


def canonical(asked: Asked) -> object:
    """What an answer may depend on, in a form that is compared exactly and by another way than the key is made."""
    tensors, values, outputs, scope = asked
    said = {
        name: (str(array.dtype), array.shape, array.tolist() if array.dtype == object else array.tobytes())
        for name, array in tensors.items()
    }
    return said, {name: (type(value), repr(value)) for name, value in values.items()}, outputs, scope


@given(asked, asked)
def test_keys_are_equal_exactly_where_all_parts_are(one: Asked, other: Asked) -> None:
    assert (key(one) == key(other)) == (canonical(one) == canonical(other))
    found = key(one)
    assert found is not None
    assert len(found) == KEY_BYTES


@given(asked)
def test_neither_order_nor_layout_nor_identity_changes_a_key(one: Asked) -> None:
    tensors, values, outputs, scope = one
    again = {name: np.array(array, order="F") for name, array in reversed(tensors.items())}
    assert key((again, dict(reversed(values.items())), outputs, scope)) == key(one)


@given(asked, st.sampled_from(["inputs", "name", "parameters", "outputs", "scope"]), st.data())
def test_each_part_of_a_request_changes_the_key(one: Asked, part: str, data: st.DataObject) -> None:
    tensors, values, outputs, scope = one
    name = data.draw(st.sampled_from(sorted(tensors)))
    match part:
        case "inputs":
            other: Asked = ({**tensors, name: data.draw(inputs.map(lambda made: next(iter(made.values()))))}, *one[1:])
        case "name":
            other = ({**{n: a for n, a in tensors.items() if n != name}, data.draw(texts): tensors[name]}, *one[1:])
        case "parameters":
            other = (tensors, data.draw(parameters), outputs, scope)
        case "outputs":
            other = (tensors, values, data.draw(st.lists(texts, max_size=3).map(tuple)), scope)
        case _:
            other = (tensors, values, outputs, data.draw(scopes))
    assume(canonical(other) != canonical(one))
    assert key(other) != key(one)


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_model_version_and_epoch_change_the_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    row: Asked = ({"x": np.ones(1)}, {}, (), "")
    assert (key(row, RequestKeys(SECRET, *one)) == key(row, RequestKeys(SECRET, *other))) == (one == other)


@given(st.binary(max_size=6), st.data())
def test_strings_do_not_run_into_each_other(whole: bytes, data: st.DataObject) -> None:
    one, other = ([whole[:cut], whole[cut:]] for cut in (data.draw(st.integers(0, len(whole))) for _ in range(2)))
    assume(one != other)
    assert key(({"x": bytes_tensor(*one)}, {}, (), "")) != key(({"x": bytes_tensor(*other)}, {}, (), ""))


def test_the_known_collision_of_joined_strings_is_none() -> None:
    one, other = bytes_tensor(b"ab", b"c"), bytes_tensor(b"a", b"bc")
    assert key(({"x": one}, {}, (), "")) != key(({"x": other}, {}, (), ""))


def test_inputs_do_not_run_into_each_other() -> None:
    one = {"a": np.array([1, 2], np.uint8), "b": np.array([3], np.uint8)}
    other = {"a": np.array([1], np.uint8), "b": np.array([2, 3], np.uint8)}
    assert key((one, {}, (), "")) != key((other, {}, (), ""))


def test_what_is_no_part_of_an_answer_is_no_part_of_the_key() -> None:
    plain = InferRequest("m", {"x": np.ones(2)})
    more = msgspec.structs.replace(plain, id="7", priority=1, deadline=5.0, trace="00-1-2-3", version="1")
    assert KEYS.key(more, (), "") == KEYS.key(plain, (), "")


def test_a_key_needs_its_secret() -> None:
    row: Asked = ({"x": np.ones(2)}, {}, (), "")
    assert key(row, RequestKeys(bytes(SECRET_BYTES), "m", "1", "epoch")) != key(row)
    with pytest.raises(ValueError, match="64 bytes"):
        RequestKeys(b"short", "m")


@pytest.mark.parametrize(
    "request_",
    [
        InferRequest("m", {"x": np.zeros(MAX_INPUT_BYTES + 1, np.uint8)}),
        InferRequest("m", {"x": bytes_tensor(b"a" * MAX_INPUT_BYTES, b"b")}),
        InferRequest("m", {"x": np.array(["text"], dtype=object)}),
        InferRequest("m", {"x": np.zeros(2, np.complex64)}),
        InferRequest("m", {"x": np.zeros(2)}, parameters={"n": 1 << 70}),
    ],
    ids=["large", "large strings", "text", "no datatype", "number"],
)
def test_what_has_no_key_is_told_apart(request_: InferRequest) -> None:
    assert KEYS.key(request_, (), "") is None
