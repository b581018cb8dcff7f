"""The routes where no service runs: nothing is started but by what is to start it, and errors are words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from tests.jupyter.conftest import Ask, Fetch
from workbench.client.shared_service import SharedService
from workbench.errors import Unauthenticated
from workbench.jupyter.extension import InferWorkbench
from workbench.jupyter.routes import BODY_BYTES
from workbench.live.relay import PageMessage
from workbench.rendezvous.leases import holders


@pytest.fixture
def jp_server_config() -> Config:
    extension = {"allow_absolute_paths": False, "history_s": 60.0, "interval_s": 0.5}
    server = {"jpserver_extensions": {"workbench.jupyter": True}}
    return Config({"ServerApp": server, "InferWorkbench": extension})


async def refused(ask: Ask, *parts: str, **more: Any) -> tuple[int, str, str]:
    """Status, reason and message of an error."""
    with pytest.raises(HTTPClientError) as caught:
        await ask(*parts, **more)
    assert caught.value.response is not None
    said = json.loads(caught.value.response.body)
    assert set(said) == {"message", "reason"}
    return caught.value.code, said["reason"], said["message"]


async def test_looking_starts_nothing(ask: Ask, extension: InferWorkbench, workplace: SharedService) -> None:
    state = await ask("status")
    assert (state["api"], state["available"], state["version"]) == (1, True, extension.version)
    service = state["service"]
    assert (service["state"], service["reason"], service["pid"]) == ("Stopped", "it has not been started yet", None)
    assert "CPU" in service["device_words"]
    assert await ask("models") == []
    assert await ask("shares") == []
    assert (await ask("logs", lines="5"))["lines"] == []
    assert (await ask("stop", body={}))["service"]["state"] == "Stopped"
    assert workplace.record() is None
    assert holders(workplace.rendezvous.leases) == []


async def test_what_needs_a_service_says_that_none_runs(ask: Ask, workplace: SharedService) -> None:
    for parts, more in (
        (("models", "digits"), {}),
        (("models", "digits", "unload"), {"body": {}}),
        (("models", "digits", "set"), {"body": {"max_batch_size": 4}}),
        (("models", "digits", "slowest"), {}),
        (("models", "digits", "try"), {"body": {}}),
        (("models", "digits", "bench"), {"body": {"rate": 100}}),
        (("shares",), {"body": {"models": ["digits"], "label": "team-a"}}),
    ):
        status, reason, message = await refused(ask, *parts, **more)
        assert (status, reason) == (503, "unavailable")
        assert message == "the service is Stopped: it has not been started yet"
    assert workplace.record() is None


@pytest.mark.parametrize(
    ("name", "body", "status", "words"),
    [
        ("digits", {"path": "absent.onnx"}, 404, "no file or folder 'absent.onnx' in the file browser"),
        ("digits", {"path": ""}, 400, "must name the model file"),
        ("digits", {"path": "/etc/hostname"}, 403, "allow_absolute_paths"),
        ("digits", {}, 400, "path"),
        ("digits", {"path": "here.onnx", "config": {"max_batch_size": 0}}, 400, "max_batch_size must be 1 to 65536"),
        ("digits", {"path": "here.onnx", "config": {"no_such": 1}}, 400, "no setting 'no_such'"),
        ("digits", {"path": "here.onnx", "unknown": 1}, 400, "unknown"),
        ("digits", ["here.onnx"], 400, "does not fit"),
        ("two words", {"path": "here.onnx"}, 400, "cannot name a model"),
        ("..", {"path": "here.onnx"}, 400, "cannot name a model"),
    ],
)
async def test_a_load_that_cannot_be_is_refused_before_anything_is_started(
    ask: Ask, workplace: SharedService, jp_root_dir: Path, name: str, body: object, status: int, words: str
) -> None:
    (jp_root_dir / "here.onnx").write_bytes(b"onnx")
    found = await refused(ask, "models", name, "load", body=body)
    assert found[0] == status
    assert words in found[2]
    assert workplace.record() is None


async def test_a_token_that_the_service_does_not_know_is_no_reason_to_log_in_to_jupyter(
    ask: Ask, extension: InferWorkbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def client() -> None:
        raise Unauthenticated("the service does not know this token")

    monkeypatch.setattr(extension.watch, "client", client)
    assert await refused(ask, "models", "digits") == (503, "unavailable", "the service does not know this token")


@pytest.mark.parametrize("lines", ["0", "x", "-1", "1001", "nan", "٣"])
async def test_log_lines_are_counted_in_words(ask: Ask, lines: str) -> None:
    status, reason, message = await refused(ask, "logs", lines=lines)
    assert (status, reason) == (400, "invalid_argument")
    assert "1 to 1000" in message


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"since": "yesterday"}, "since must be a number from 0"),
        ({"until": "-1"}, "got '-1'"),
        ({"limit": "101"}, "1 to 100"),
    ],
)
async def test_a_span_of_time_is_told_in_numbers(ask: Ask, asked: dict[str, str], words: str) -> None:
    status, reason, message = await refused(ask, "models", "digits", "slowest", **asked)
    assert (status, reason) == (400, "invalid_argument")
    assert words in message


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ([1], 400, "does not fit"),
        ({"rows": "many"}, 400, "rows"),
        ({"input": {}}, 400, "input"),
        ({"inputs": {"x": "x" * BODY_BYTES}}, 413, "must have at most 1048576 bytes"),
    ],
)
async def test_what_cannot_be_tried_is_refused_in_words(ask: Ask, body: object, status: int, words: str) -> None:
    found = await refused(ask, "models", "digits", "try", body=body)
    assert found[0] == status
    assert words in found[2]


async def test_a_start_that_fails_is_a_state_with_its_reason(
    ask: Ask, workplace: SharedService, tmp_path: Path
) -> None:
    (tmp_path / "shared data").write_text("no folder")
    status, reason, message = await refused(ask, "start", body={})
    assert (status, reason) == (507, "storage")
    assert "data folder" in message
    service = (await ask("status"))["service"]
    assert (service["state"], service["reason"]) == ("Failed", message)


async def test_settings_of_the_extension_are_taken_and_told(extension: InferWorkbench) -> None:
    assert extension.relay.text(PageMessage.HELLO, extension.relay.join()).endswith('"interval_s":0.5}')
    for name, trait in extension.class_own_traits(config=True).items():
        assert trait.help, f"{name} has no help text"


async def test_looking_is_no_activity_that_keeps_a_server_from_being_culled(
    ask: Ask, extension: InferWorkbench, jp_fetch: Fetch
) -> None:
    assert extension.serverapp is not None
    app = extension.serverapp.web_app
    for parts in (("status",), ("models",), ("logs",)):
        await ask(*parts)
    assert "api_last_activity" not in app.settings
    assert "infer_workbench_last_activity" not in app.settings
    await ask("stop", body={})
    assert "api_last_activity" in app.settings
    extension.worked()
    assert app.last_activity() == app.settings["infer_workbench_last_activity"]
