"""What a service loads at its start, and whether it is ready then."""

from __future__ import annotations

import dataclasses

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
    assert await load_all(house.service) == ["spare"]
    states = {status.name: status.state for status in house.service.engine.statuses()}
    assert states == {"digits": ModelState.READY, "spare": ModelState.FAILED}
    assert "model spare of the repository was not loaded" in caplog.text


async def test_a_service_is_ready_once_what_failed_at_its_start_is_unloaded(house: House) -> None:
    service, working = house.service, house.session.function
    assert service.ready
    house.session.function = broken
    await load_all(service)
    assert service.serving
    assert not service.ready
    assert service.missing == ["spare"]
    assert service.notes == ["failed at the start, so the service is not ready; load again, or unload: spare"]
    assert (await house.call("GET", "/v2/health/ready")).status == 503
    service.config = dataclasses.replace(service.config, strict_readiness=False)
    assert service.ready
    service.config = dataclasses.replace(service.config, strict_readiness=True)
    house.session.function = working
    await service.engine.unload("spare")
    assert service.ready
    assert service.notes == []
    house.session.function = broken
    with pytest.raises(ZeroDivisionError):
        await service.engine.load("spare", house.onnx)
    assert service.ready, "it failed at the start once, but not this time"


async def test_a_folder_without_the_file_that_its_configuration_names_counts_as_failed(house: House) -> None:
    folder = house.service.config.data_dir.parent / "repository" / "spare"
    (folder / "1" / "model.onnx").rename(folder / "1" / "model.ort")
    (folder / "config.pbtxt").write_text('platform: "onnxruntime_onnx"')
    await load_all(house.service)
    assert house.service.missing == ["spare"]
    (failed,) = house.service.engine.statuses("spare")
    assert "no file model.onnx" in failed.reason
    assert "there is model.ort: set default_model_filename" in failed.reason


async def test_a_model_that_fails_later_leaves_the_service_ready(house: House) -> None:
    await load_all(house.service)
    house.session.function = broken
    with pytest.raises(ZeroDivisionError):
        await house.service.engine.load("later", house.onnx)
    assert house.service.engine.statuses("later") == []
    assert house.service.ready
