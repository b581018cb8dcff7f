from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests import models
from workbench.config import MAX_MODEL_TENSORS, Limits
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.engine import Engine
from workbench.engine.callability import uncallable
from workbench.repository.store import ModelStore

ROW = TensorSpec("x", "FP32", (FREE, 4))


def columns(count: int) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"column {n}", "FP32", (FREE, 1)) for n in range(count))


CALLABLE = {
    "a row": (Signature((ROW,), (ROW,)), Limits()),
    "no inputs": (Signature((), (ROW,)), Limits()),
    "more columns than max_tensors": (Signature(columns(300), (ROW,)), Limits(max_tensors=256)),
    "as many columns as can be": (Signature(columns(MAX_MODEL_TENSORS), (ROW,)), Limits()),
    "more, as the setting says": (Signature(columns(5000), (ROW,)), Limits(max_tensors=5000)),
    "one output that fits": (
        Signature((ROW,), (TensorSpec("large", "FP32", (1 << 20,)), ROW)),
        Limits(max_response_bytes=1 << 20),
    ),
}

UNCALLABLE = {
    "columns": (Signature(columns(MAX_MODEL_TENSORS + 1), (ROW,)), Limits(), "4097 inputs.* can have 4096"),
    "elements": (Signature((TensorSpec("x", "INT8", (FREE, 1 << 29)),), (ROW,)), Limits(), "max_elements"),
    "bytes": (Signature((TensorSpec("x", "FP64", (1 << 27,)),), (ROW,)), Limits(), "1073741824 bytes.* max_body"),
    "axes": (Signature((TensorSpec("x", "FP32", (1,) * 33),), (ROW,)), Limits(), "33 axes; 32"),
    "a name": (Signature((TensorSpec("x" * 1025, "FP32", ()),), (ROW,)), Limits(), "1025 characters.* max_name_length"),
    "text": (Signature((TensorSpec("x", "BYTES", (1 << 27,)),), (ROW,)), Limits(), "max_body_bytes"),
    "the answer": (
        Signature((ROW,), (TensorSpec("y", "FP64", (1 << 28,)),)),
        Limits(),
        "each of its outputs has 2147483648 bytes or more, and max_response_bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("signature", "limits"), CALLABLE.values(), ids=CALLABLE)
def test_nothing_is_said_of_a_model_that_a_request_can_call(signature: Signature, limits: Limits) -> None:
    assert uncallable(signature, limits) == ()


@pytest.mark.parametrize(("signature", "limits", "said"), UNCALLABLE.values(), ids=UNCALLABLE)
def test_a_model_that_no_request_can_call_says_which_limit_it_is(
    signature: Signature, limits: Limits, said: str
) -> None:
    notes = uncallable(signature, limits)
    assert notes
    assert all(note.startswith("It cannot be called: ") and note.endswith(".") for note in notes)
    assert re.search(said, " ".join(notes))


def test_a_load_says_that_no_request_can_call_the_model(tmp_path: Path) -> None:
    async def notes() -> tuple[str, ...]:
        engine = Engine(ModelStore(tmp_path), limits=Limits(max_elements=3))
        await engine.start()
        try:
            return (await engine.load("m", models.add_constant().SerializeToString())).status.notes
        finally:
            await engine.close()

    assert asyncio.run(notes()) == (
        "It cannot be called: input 'x' has 4 elements at the least, and max_elements is 3.",
    )
