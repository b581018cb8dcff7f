from __future__ import annotations

from pathlib import Path

import pytest

from tests import models
from tests.helpers.function_files import save_function
from tests.helpers.service_process import Serve
from workbench.api import connect
from workbench.config import ServerConfig
from workbench.errors import ModelError
from workbench.server.python_functions import why_no_functions

TEXT = "def predict(x):\n    return x"


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
    save_function(tmp_path / "repository" / "function" / "1" / "model.function", TEXT)
    models.save(models.add_constant(1.0), tmp_path / "repository" / "plus" / "1" / "model.onnx")
    lenient = ("--exit-on-error", "false", "--strict-readiness", "false")
    with Serve(tmp_path, "--no-auth", "--model-repository", str(tmp_path / "repository"), *lenient) as serve:
        serve.ready()
        with connect(serve.published["url"]) as wb:
            states = {each.name: each.state.value for each in wb.models()}
            assert states == {"function": "Failed", "plus": "Ready"}
            with pytest.raises(ModelError, match="this service runs no Python functions: it has no token"):
                wb.load("mine", save_function(tmp_path / "mine.function", TEXT))
