from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from workbench.core.messages import InferRequest
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.engine.admission import Admission
from workbench.errors import InvalidInput, TooLarge

SIGNATURE = Signature(
    (TensorSpec("ids", "INT64", (FREE, FREE)), TensorSpec("scale", "FP32", (FREE,))),
    (TensorSpec("y", "FP32", (FREE, 2)), TensorSpec("label", "BYTES", (FREE,))),
)


def request(ids: Any, scale: Any, **more: Any) -> InferRequest:
    return InferRequest("m", {"ids": ids, "scale": scale}, **more)


def good(rows: int = 2, length: int = 3) -> InferRequest:
    return request(np.zeros((rows, length), np.int64), np.zeros(rows, np.float32))


def test_a_good_request_says_its_rows_its_shape_and_its_outputs() -> None:
    admitted = Admission(SIGNATURE, 8).admit(good())
    assert admitted.rows == 2
    assert admitted.key == ((3,), ())
    assert admitted.outputs == ("y", "label")


def test_requests_of_other_lengths_are_of_another_group() -> None:
    admission = Admission(SIGNATURE, 8)
    assert admission.admit(good(2, 3)).key == admission.admit(good(5, 3)).key
    assert admission.admit(good(2, 3)).key != admission.admit(good(2, 4)).key


def test_an_unbatched_model_takes_any_rows_as_one() -> None:
    assert Admission(SIGNATURE, 0).admit(good(500)).rows == 1


def test_outputs_come_in_the_order_asked_for() -> None:
    asked = good()
    asked.outputs = ("label", "y")
    assert Admission(SIGNATURE, 8).admit(asked).outputs == ("label", "y")


IDS, SCALE = np.zeros((2, 3), np.int64), np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (InferRequest("m", {}), "expected 2 inputs but got 0 inputs for model 'm': 'ids', 'scale' missing"),
        (InferRequest("m", {"ids": IDS, "scale": SCALE, "more": SCALE}), "'more' unknown"),
        (
            InferRequest("m", {"ids": IDS, "skale": SCALE}),
            "^wrong inputs for model 'm': 'skale' unknown, 'scale' missing",
        ),
        (request(IDS.astype(np.int32), SCALE), "input 'ids' is INT32; the model takes INT64"),
        (request(IDS, SCALE.astype(np.complex64)), "input 'scale' is complex64; the model takes FP32"),
        (request(IDS, SCALE.astype(ml_dtypes.bfloat16)), "input 'scale' is BF16"),
        (request(IDS[0], SCALE), r"shape \[3\]; the model takes INT64 of shape \[-1, -1\]"),
        (request(IDS, SCALE[:, None]), r"shape \[2, 1\]"),
        (request(IDS, SCALE[:1]), "input 'scale' has 1 rows where another input has 2"),
        (request(IDS[:0], SCALE), "2 rows where another input has 0"),
        (request(IDS, SCALE, outputs=("y", "z")), "no output 'z'; the outputs are 'y', 'label'"),
    ],
)
def test_a_bad_request_is_told_what_was_wanted(bad: InferRequest, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Admission(SIGNATURE, 8).admit(bad)


def test_more_rows_than_a_batch_takes_are_too_many() -> None:
    with pytest.raises(TooLarge, match="9 rows in one request; model 'm' takes 8"):
        Admission(SIGNATURE, 8).admit(good(9))


def test_an_input_of_unknown_rank_takes_any_shape_of_its_datatype() -> None:
    spec = TensorSpec("x", "FP32", (), ranked=False)
    admission = Admission(Signature((spec,), (TensorSpec("y", "FP32", (), ranked=False),)), 0)
    for shape in ((), (3,), (0, 2), (1, 2, 3)):
        admission.admit(InferRequest("m", {"x": np.zeros(shape, np.float32)}))
    with pytest.raises(InvalidInput, match="input 'x' is INT64; the model takes FP32 of any shape"):
        admission.admit(InferRequest("m", {"x": np.zeros(2, np.int64)}))
