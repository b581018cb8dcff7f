"""What lies in the service's own model repositories: listed, and loaded by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from tests.jupyter.conftest import Ask
from tests.models import add_constant
from workbench.client.shared_service import SharedService


async def test_a_model_of_the_repository_is_unloaded_listed_and_loaded_again_with_settings(
    ask: Ask, workplace: SharedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository" / "plus" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(add_constant(1.0).SerializeToString())
    monkeypatch.setenv("INFER_WORKBENCH_MODEL_REPOSITORIES", str(tmp_path / "repository"))
    assert await ask("repository") == []  # nothing runs, and nothing is started by looking
    assert workplace.record() is None

    await ask("start", body={})
    await ask("models", "plus", "unload", body={})
    stored: list[dict[str, Any]] = await ask("repository")
    assert [(entry["name"], entry["version"], entry["state"]) for entry in stored] == [("plus", "1", "UNAVAILABLE")]

    loaded = await ask("repository", "plus", "load", body={"max_batch_size": 3})
    assert (loaded["model"]["name"], loaded["model"]["state"]) == ("plus", "Ready")
    assert loaded["model"]["config"]["max_batch_size"] == 3
    assert [entry["state"] for entry in await ask("repository")] == ["READY"]

    for name, body, status in (("absent", {}, 404), ("plus", {"max_batch_size": 0}, 400)):
        with pytest.raises(HTTPClientError) as caught:
            await ask("repository", name, "load", body=body)
        assert caught.value.code == status
