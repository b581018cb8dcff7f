from __future__ import annotations

import asyncio
import base64
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.helpers.function_files import save_function
from tests.helpers.service_process import Serve
from workbench.api import Workbench, connect
from workbench.client.client import AsyncClient
from workbench.config import ServerConfig
from workbench.errors import ModelError
from workbench.server.python_functions import why_no_functions

X = np.ones((1, 2), np.float32)


def marking(folder: Path) -> str:
    """The source of a function that leaves a file where it runs, and where it is only made."""
    return f"open({str(folder / 'it ran')!r}, 'w').close()\ndef predict(x):\n    return x"


@pytest.mark.parametrize(
    ("host", "setting", "auth", "reason"),
    [
        ("127.0.0.1", "auto", True, ""),
        ("127.0.0.1", "on", True, ""),
        ("0.0.0.0", "on", True, ""),
        ("0.0.0.0", "auto", True, "other machines reach it"),
        ("127.0.0.1", "off", True, "its setting python_functions is off"),
        ("127.0.0.1", "auto", False, "it has no token"),
        ("127.0.0.1", "on", False, "it has no token"),
    ],
)
def test_where_functions_are_refused(host: str, setting: str, auth: bool, reason: str, tmp_path: Path) -> None:
    config = ServerConfig(host=host, python_functions=setting, auth=auth, data_dir=tmp_path)
    found = why_no_functions(config)
    assert reason in found
    assert bool(reason) == bool(found)


def test_a_service_without_a_token_runs_none(tmp_path: Path) -> None:
    save_function(tmp_path / "repository" / "function" / "1" / "model.function", marking(tmp_path))
    models.save(models.add_constant(1.0), tmp_path / "repository" / "plus" / "1" / "model.onnx")
    lenient = ("--exit-on-error", "false", "--strict-readiness", "false", "--python-functions", "on")
    with Serve(tmp_path, "--no-auth", "--model-repository", str(tmp_path / "repository"), *lenient) as serve:
        serve.ready()
        with connect(serve.published["url"]) as wb:
            states = {each.name: each.state.value for each in wb.models()}
            assert states == {"function": "Failed", "plus": "Ready"}
            with pytest.raises(ModelError, match="this service runs no Python functions: it has no token"):
                wb.load("mine", save_function(tmp_path / "mine.function", marking(tmp_path)), allow_code=True)
    assert not (tmp_path / "it ran").exists()


def test_no_strangers_function_runs_unless_its_load_says_so_and_then_after_a_restart_too(tmp_path: Path) -> None:
    text = marking(tmp_path)
    repository = tmp_path / "repository"
    file = save_function(repository / "function" / "1" / "model.function", text)
    (bare := tmp_path / "model.bin").write_bytes(file.read_bytes())  # known by what is in it, whatever it is called
    with zipfile.ZipFile(tmp_path / "stranger.zip", "w") as archive:
        archive.write(file, "pack/model.function")
    flags = ("--model-repository", str(repository), "--load", f"flag={file}")
    lenient = ("--exit-on-error", "false", "--strict-readiness", "false")
    with Serve(tmp_path, *flags, *lenient) as serve:
        serve.until("run only by a service that was started with --python-functions on")
        serve.until("run only by a service that was started with --python-functions on")
        serve.ready()
        url, token = serve.published["url"], serve.token
        with connect(url, token) as wb:
            assert {each.state.value for each in wb.models()} == {"Failed"}
            for source in (file, file.parent, repository / "function", tmp_path / "stranger.zip", file.read_bytes()):
                with pytest.raises(ModelError, match=r"Python function.*%infer load NAME FILE --allow-code"):
                    wb.load("strange", source)
            said = _posted(url, token, "strange", bare)
            assert said.startswith("failed to load 'strange': it is a Python function")
            assert "allow_code in the request" in said
            assert "started with --python-functions on" in _posted(url, token, "function", None, allow_code=True)
            assert not (tmp_path / "it ran").exists()
            assert not list(serve.data_dir.rglob("model.function")), "what was refused is not kept"

            wb.load("uploaded", file.read_bytes(), allow_code=True)
            assert (tmp_path / "it ran").exists()
            assert list(serve.data_dir.rglob("model.function"))
            wb.load("packed", tmp_path / "stranger.zip", allow_code=True)
            assert not _posted(url, token, "posted", file, allow_code=True)
            wb.set("packed", call_timeout_s=7)
            _answers(wb)
        assert serve.stop() == 0
    with Serve(tmp_path) as serve:
        serve.ready()
        with connect(serve.published["url"], serve.token) as wb:
            _answers(wb)


def test_an_operator_has_those_of_a_repository_run(tmp_path: Path) -> None:
    file = save_function(tmp_path / "repository" / "function" / "1" / "model.function", marking(tmp_path))
    with Serve(tmp_path, "--model-repository", str(tmp_path / "repository"), "--python-functions", "on") as serve:
        serve.ready()
        with connect(serve.published["url"], serve.token) as wb:
            assert np.array_equal(np.asarray(wb.predict("function", X)), X)
            wb.unload("function")
            assert not _posted(serve.published["url"], serve.token, "function", None)
            with pytest.raises(ModelError, match="--allow-code"):
                wb.load("strange", file)


def _answers(wb: Workbench) -> None:
    for name in ("uploaded", "packed", "posted"):
        assert np.array_equal(np.asarray(wb.predict(name, X)), X)


def _posted(url: str, token: str, name: str, file: Path | None, **parameters: object) -> str:
    """What the load of the protocol's repository extension says that was wrong."""
    if file is not None:
        parameters["file:1/model.onnx"] = base64.b64encode(file.read_bytes()).decode()

    async def load() -> str:
        async with AsyncClient(url, token) as client:
            try:
                await client.transport.json("POST", f"/v2/repository/models/{name}/load", {"parameters": parameters})
            except ModelError as error:
                return error.message
        return ""

    return asyncio.run(load())
