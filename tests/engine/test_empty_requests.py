"""0 rows in, 0 rows out, and no input without elements for an operator that ends the process on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import FakeSession, Opener
from workbench.core.messages import InferRequest
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.engine.admission import Admission
from workbench.engine.empty_requests import NO_ROWS, NO_RUN, empty_answer
from workbench.errors import InvalidInput
from workbench.repository.store import ModelStore

FIXED = Signature(
    (TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 3)), TensorSpec("z", "BYTES", (FREE,)))
)
OPEN = Signature((TensorSpec("x", "FP32", (FREE, FREE)),), (TensorSpec("y", "FP32", (FREE, FREE)),))
SCALAR = Signature((TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", ()),))


def of(*shape: int, outputs: tuple[str, ...] = ()) -> InferRequest:
    request = InferRequest("m", {"x": np.zeros(shape, np.float32)})
    request.outputs = outputs
    return request


RUNS, NEVER = False, True
"""Whether it aborts on empty inputs."""

ADMITTED = {
    "batched, and the answer's sizes are known": (FIXED, 8, RUNS, (0, 2), NO_RUN),
    "batched, aborting, and they are known": (FIXED, 8, NEVER, (0, 2), NO_RUN),
    "batched, and only a run knows them": (OPEN, 8, RUNS, (0, 5), ((5,), NO_ROWS)),
    "unbatched: only a run knows": (FIXED, 0, RUNS, (0, 2), ()),
    "unbatched and aborting": (FIXED, 0, NEVER, (0, 2), NO_RUN),
    "another size is 0": (OPEN, 8, RUNS, (3, 0), ((0,),)),
}


@pytest.mark.parametrize(("signature", "rows", "aborts", "shape", "key"), ADMITTED.values(), ids=ADMITTED)
def test_an_empty_request_is_run_only_where_it_must_be(
    signature: Signature, rows: int, aborts: bool, shape: tuple[int, ...], key: object
) -> None:
    admitted = Admission(signature, rows, aborts_on_empty=aborts).admit(of(*shape))
    assert admitted.key == key
    assert (admitted.key is NO_RUN) is (key is NO_RUN)


@pytest.mark.parametrize(
    ("signature", "rows", "shape"),
    [(OPEN, 8, (0, 5)), (OPEN, 8, (3, 0)), (OPEN, 0, (3, 0)), (SCALAR, 0, (0, 2))],
)
def test_a_model_that_would_end_the_process_never_gets_an_empty_input(
    signature: Signature, rows: int, shape: tuple[int, ...]
) -> None:
    with pytest.raises(InvalidInput, match=r"'x' of shape .* has no elements, and an operator of model 'm'"):
        Admission(signature, rows, aborts_on_empty=True).admit(of(*shape))


def test_an_empty_answer_has_the_datatypes_and_sizes_of_the_signature() -> None:
    y, z = empty_answer(FIXED.outputs, ("y", "z")) or ()
    assert (y.shape, y.dtype, z.shape, z.dtype) == ((0, 3), np.float32, (0,), np.object_)
    assert empty_answer(OPEN.outputs, ("y",)) is None


def answers(tmp_path: Path, session: FakeSession, requests: list[InferRequest], **settings: object) -> list[Array]:
    """The output y of each, all sent at once to one model."""

    async def run() -> list[Array]:
        engine = Engine(ModelStore(tmp_path), open_session=Opener(session))
        await engine.start()
        await engine.load("m", models.identity().SerializeToString(), settings)
        session.batches.clear()
        batching = engine.status("m").batching
        try:
            found = await asyncio.gather(*[engine.infer(request) for request in requests])
            assert engine.status("m").batching == batching
            return [each.outputs["y"] for each in found]
        finally:
            await engine.close()

    return asyncio.run(run())


def test_no_rows_are_answered_without_a_run_beside_others(tmp_path: Path) -> None:
    steady = Signature((TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 2)),))
    session = FakeSession(signature=steady)
    found = answers(tmp_path, session, [of(0, 2), of(1, 2), of(0, 2), of(0, 2, outputs=("y",))])
    assert [each.shape for each in found] == [(0, 2), (1, 2), (0, 2), (0, 2)]
    assert session.batches == [1]


@pytest.mark.parametrize("settings", [{}, {"batch_sizes": [4, 8], "max_batch_size": 8}], ids=["plain", "padded"])
def test_no_rows_of_open_width_are_run_as_they_are(tmp_path: Path, settings: dict[str, object]) -> None:
    session = FakeSession(signature=OPEN)
    found = answers(tmp_path, session, [of(0, 5), of(0, 5), of(0, 7), of(1, 5), of(1, 5)], **settings)
    assert [each.shape for each in found] == [(0, 5), (0, 5), (0, 7), (1, 5), (1, 5)]
    # One run for those that are alike, and the model is batched as before.
    assert sorted(session.batches) == [0, 0, max(session.batches)]


def test_where_an_unbatched_model_refuses_no_rows_the_signature_answers(tmp_path: Path) -> None:
    def refusing(x: Array) -> Array:
        if not len(x):
            raise InvalidInput("Reshape: it cannot")
        return x

    steady = Signature((TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 2)),))
    session = FakeSession(refusing, steady)
    assert answers(tmp_path, session, [of(0, 2)], batching="never")[0].shape == (0, 2)
    with pytest.raises(InvalidInput, match="Reshape: it cannot"):
        answers(tmp_path / "open", FakeSession(refusing, OPEN), [of(0, 2)], batching="never")
