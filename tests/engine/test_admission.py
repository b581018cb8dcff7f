from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from workbench.core.messages import InferRequest
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.engine.admission import Admission, CallersApart
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


def test_where_callers_are_kept_apart_a_share_has_batches_of_its_own_until_a_time() -> None:
    now = [0.0]
    admission = CallersApart(SIGNATURE, 8, aborts_on_empty=False, until=60.0, clock=lambda: now[0])

    def key(caller: str) -> object:
        return admission.admit(request(IDS, SCALE, caller=caller)).key

    assert key("") == Admission(SIGNATURE, 8).admit(good()).key
    assert len({key(""), key("s1"), key("s2")}) == 3
    assert key("s1") == key("s1")
    now[0] = 60.0
    assert key("") == key("s1") == key("s2")


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
        (
            InferRequest("m", {}),
            r"^expected 2 inputs but got 0 inputs for model 'm'\. Got input\(s\) \[\], but missing required input\(s\) "
            r"\['ids','scale'\]\. Please provide all required input\(s\)\.$",
        ),
        (
            InferRequest("m", {"ids": IDS, "scale": SCALE, "more": SCALE}),
            "^unexpected inference input 'more' for model 'm'; the inputs are 'ids', 'scale'",
        ),
        (
            InferRequest("m", {"ids": IDS, "skale": SCALE}),
            "^unexpected inference input 'skale' for model 'm'; the inputs are 'ids', 'scale'",
        ),
        (
            request(IDS.astype(np.int32), SCALE),
            r"^inference input 'ids' data-type is 'INT32', but model 'm' expects 'INT64' of shape \[-1,-1\]",
        ),
        (request(IDS, SCALE.astype(np.complex64)), "'scale' data-type is 'complex64', but model 'm' expects 'FP32'"),
        (request(IDS, SCALE.astype(ml_dtypes.bfloat16)), "input 'scale' data-type is 'BF16'"),
        (request(IDS[0], SCALE), r"^unexpected shape for input 'ids' for model 'm'\. Expected \[-1,-1\], got \[3\]"),
        (request(IDS, SCALE[:, None]), r"Expected \[-1\], got \[2,1\]"),
        (request(IDS, SCALE[:1]), "input 'scale' has 1 rows where another input has 2"),
        (request(IDS[:0], SCALE), "2 rows where another input has 0"),
        (
            request(IDS, SCALE, outputs=("y", "z")),
            "^unexpected inference output 'z' for model 'm'; the outputs are 'y', 'label'",
        ),
    ],
)
def test_a_bad_request_is_told_what_was_wanted(bad: InferRequest, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Admission(SIGNATURE, 8).admit(bad)


def test_more_rows_than_a_batch_takes_are_too_many() -> None:
    with pytest.raises(TooLarge, match="inference request batch-size must be <= 8 for 'm'; this request has 9 rows"):
        Admission(SIGNATURE, 8).admit(good(9))


def test_an_input_of_unknown_rank_takes_any_shape_of_its_datatype() -> None:
    spec = TensorSpec("x", "FP32", (), ranked=False)
    admission = Admission(Signature((spec,), (TensorSpec("y", "FP32", (), ranked=False),)), 0)
    for shape in ((), (3,), (0, 2), (1, 2, 3)):
        admission.admit(InferRequest("m", {"x": np.zeros(shape, np.float32)}))
    with pytest.raises(InvalidInput, match="input 'x' data-type is 'INT64', but model 'm' expects 'FP32' of any shape"):
        admission.admit(InferRequest("m", {"x": np.zeros(2, np.int64)}))
