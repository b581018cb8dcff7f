"""What a service loads at its start."""

from __future__ import annotations

import pytest

from tests.server.conftest import House
from workbench.core.model import ModelState
from workbench.core.tensor import Array
from workbench.server.worker_main import load_all


def broken(rows: Array) -> Array:
    raise ZeroDivisionError("a fault of ours")


async def test_a_model_that_fails_as_nobody_foresaw_keeps_no_other_from_serving(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.session.function = broken
    await load_all(house.service)
    states = {status.name: status.state for status in house.service.engine.statuses()}
    assert states == {"digits": ModelState.READY, "spare": ModelState.FAILED}
    assert "model spare of the repository was not loaded" in caplog.text
