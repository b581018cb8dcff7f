from __future__ import annotations

import numpy as np
import pytest

from workbench.client.input_adapter import adapt
from workbench.core.messages import InferRequest
from workbench.core.model import Signature, TensorSpec
from workbench.core.random_inputs import WHOLE_NUMBERS, random_inputs
from workbench.core.tensor import BYTES, DTYPES, Array, datatype_of
from workbench.errors import InvalidInput, TooLarge
from workbench.protocols import oip_json


def made_up(*specs: TensorSpec, rows: int = 3, seed: int = 1) -> dict[str, Array]:
    return random_inputs(specs, rows, np.random.default_rng(seed))


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("shape", [(), (-1,), (4,), (-1, 2, -1), (0,)])
def test_every_datatype_and_shape_can_be_sent_and_fits_its_own_signature(datatype: str, shape: tuple[int, ...]) -> None:
    spec = TensorSpec("x", datatype, shape)
    array = made_up(spec)["x"]
    assert datatype_of(array) == datatype
    assert len(array.shape) == len(shape)
    assert all(wanted in (-1, size) for size, wanted in zip(array.shape, shape, strict=True))
    assert np.array_equal(adapt({"x": array}, Signature((spec,), ()), "m").inputs["x"], array)
    oip_json.encode_request(InferRequest("m", {"x": array}))


def test_inputs_come_in_the_models_order_with_the_rows_asked_for() -> None:
    found = made_up(TensorSpec("b", "FP32", (-1, 4)), TensorSpec("a", "INT64", (-1,)), rows=7)
    assert list(found) == ["b", "a"]
    assert found["b"].shape == (7, 4) and found["a"].shape == (7,)


def test_a_fixed_first_axis_keeps_its_size() -> None:
    assert made_up(TensorSpec("x", "FP32", (1, 2)), rows=9)["x"].shape == (1, 2)


def test_free_axes_beside_the_first_are_equally_long_in_all_inputs() -> None:
    found = made_up(TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("mask", "INT64", (-1, -1)))
    assert found["ids"].shape == found["mask"].shape == (3, 16)


def test_the_same_seed_makes_up_the_same_and_another_one_does_not() -> None:
    spec = TensorSpec("x", "FP32", (-1, 8))
    assert np.array_equal(made_up(spec)["x"], made_up(spec)["x"])
    assert not np.array_equal(made_up(spec)["x"], made_up(spec, seed=2)["x"])


def test_values_differ_are_finite_and_small() -> None:
    for datatype in DTYPES:
        array = made_up(TensorSpec("x", datatype, (-1, 50)))["x"]
        values = array.astype(str) if datatype == BYTES else array.astype(np.float64)
        assert len(np.unique(values)) > 1
        if datatype == BYTES:
            assert all(isinstance(word, bytes) and word.isalpha() for word in array.flat)
        elif array.dtype.kind in "iu":
            assert array.min() >= 0 and array.max() < WHOLE_NUMBERS
        else:
            assert np.abs(values).max() < 10


def test_what_cannot_be_made_up_is_refused_in_words() -> None:
    with pytest.raises(InvalidInput, match="rows is 0; made-up inputs have 1 at least"):
        made_up(TensorSpec("x", "FP32", (-1,)), rows=0)
    with pytest.raises(InvalidInput, match="'FP8' is not one of the protocol's"):
        made_up(TensorSpec("x", "FP8", (-1,)))
    with pytest.raises(TooLarge, match="'x' would have 10000000000 elements"):
        made_up(TensorSpec("x", "FP32", (-1, 100_000)), rows=100_000)
