"""Sequences through the whole engine, with ONNX Runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import sequence_models as made
from workbench.core.messages import InferRequest, InferResponse, SequenceStep
from workbench.engine import Engine
from workbench.errors import InvalidInput
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)


def step(value: int, id: int | str = 5, *, start: bool = False, end: bool = False, model: str = "m") -> InferRequest:
    return InferRequest(model, {"INPUT": np.array([[value]], np.int32)}, sequence=SequenceStep(id, start, end))


def said(response: InferResponse) -> int:
    return int(response.outputs["OUTPUT"].item())


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Engine]]]:
    engines = []

    async def serve(model: object, text: str, **more: object) -> Engine:
        made.save(tmp_path / "repository", "m", model, text)  # type: ignore[arg-type]
        repositories = [LocalRepository(tmp_path / "repository")]
        engine = Engine(ModelStore(tmp_path / "store"), repositories=repositories, **more)  # type: ignore[arg-type]
        await engine.start()
        engines.append(engine)
        await engine.load("m")
        return engine

    yield serve
    for engine in engines:
        await engine.close(5)


ACCUMULATE = made.config(made.control("START") + made.state())


async def test_a_sequence_is_added_up(serve: Callable[..., Awaitable[Engine]]) -> None:
    engine = await serve(made.accumulator(), ACCUMULATE)
    assert said(await engine.infer(step(3, start=True))) == 3
    assert said(await engine.infer(step(4))) == 7
    assert said(await engine.infer(step(10, 6, start=True))) == 10
    assert said(await engine.infer(step(5, end=True))) == 12
    with pytest.raises(InvalidInput, match="sequence 5 to model 'm' must specify the START flag"):
        await engine.infer(step(5))
