"""Models that must not be served, given to the real service over HTTP: refused with the reason, harming nobody."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.server.real_service import started

ROW = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    good = models.save(models.add_constant(1.0), folder / "good.onnx")
    with started(folder, "--load", f"good={good}") as running:
        yield running


def asked(service: Serve, path: str, body: dict[str, Any] | bytes | None = None) -> tuple[int, Any]:
    headers = {"Content_Type": "application/octet-stream"} if isinstance(body, bytes) else {}
    status, answer = service.call("GET" if body is None else "POST", path, body, **headers)
    return status, json.loads(answer)


def still_serves(service: Serve) -> bool:
    status, answer = asked(service, "/v2/models/good/infer", ROW)
    return status == 200 and answer["outputs"][0]["data"] == [2, 3, 4, 5]


def refused(service: Serve, name: str, path: Path) -> str:
    """What was said of it; nothing of it is listed, and others answer."""
    status, answer = asked(service, f"/control/models/{name}/load", {"path": str(path)})
    assert status == 400, answer
    assert asked(service, f"/control/models/{name}")[0] == 404
    assert asked(service, f"/v2/models/{name}/infer", ROW)[0] == 404
    assert still_serves(service)
    assert len(answer["error"].splitlines()) == 1
    assert str(service.data_dir) not in answer["error"]
    message: str = answer["error"]
    return message


@pytest.mark.parametrize("place", sorted(models.external_everywhere("../secret.bin")))
def test_data_outside_the_models_folder_is_refused_wherever_it_hides(
    service: Serve, tmp_path: Path, place: str
) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 16)
    path = tmp_path / "net" / "model.onnx"
    path.parent.mkdir()
    (path.parent / "weights.bin").write_bytes(models.EXTERNAL_WEIGHTS.tobytes())  # what some name beside it
    models.save(models.external_everywhere("../secret.bin")[place], path)
    assert "outside the model's folder" in refused(service, "escape", path)


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symlink", "hard link"])
def test_data_that_is_a_link_is_refused(service: Serve, tmp_path: Path, link: Any) -> None:
    path = models.save_external(tmp_path / "net" / "model.onnx")
    weights = path.parent / "weights.bin"
    weights.rename(tmp_path / "elsewhere.bin")
    link(tmp_path / "elsewhere.bin", weights)
    assert "link" in refused(service, "linked", path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"this is no model", "no ONNX model"),
        (b"", "empty"),
        (models.add_constant().SerializeToString()[:-9], "corrupt"),
        (models.unsupported_operator().SerializeToString(), "operator"),
        (models.nested(5000), "nested too deep"),
    ],
    ids=["junk", "empty", "truncated", "unsupported operator", "nested deep"],
)
def test_what_cannot_be_loaded_says_why(service: Serve, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert says in refused(service, "broken", path)
    status, answer = asked(service, "/control/models/sent/stage", content)
    assert status == 400
    assert says in answer["error"]
    assert still_serves(service)


def test_a_model_that_is_mended_serves_under_the_same_name(service: Serve, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"this is no model")
    refused(service, "mended", path)
    models.save(models.add_constant(2.0), path)
    assert asked(service, "/control/models/mended/load", {"path": str(path)})[0] == 200
    assert asked(service, "/v2/models/mended/infer", ROW)[1]["outputs"][0]["data"] == [3, 4, 5, 6]


def test_a_full_disk_is_said_so_and_the_service_goes_on(tmp_path: Path) -> None:
    good = models.save(models.add_constant(1.0), tmp_path / "good.onnx")
    large = models.save(models.mlp((16, 2000, 16)), tmp_path / "large.onnx")
    with started(tmp_path, "--load", f"good={good}") as service:
        for pid in (service.process.pid, *_children(service.process.pid)):
            # No file of the service may grow over 100 kB: each write past it fails, as on a disk that is full.
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        status, answer = asked(service, "/control/models/large/load", {"path": str(large)})
        assert status == 507
        assert "disk is full" in answer["error"]
        status, answer = asked(service, "/control/models/large/stage", large.read_bytes())
        assert status == 507
        assert still_serves(service)
        assert not list(service.data_dir.rglob(".incoming-*"))


def test_a_store_that_cannot_be_written_is_said_so_and_the_service_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "good" / "1"
    folder.mkdir(parents=True)
    good = models.save(models.add_constant(1.0), folder / "model.onnx")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "models").write_text("a file where the store's folder should be")
    with started(tmp_path, "--model-repository", str(tmp_path / "repository"), "--repository-in-place") as service:
        status, answer = asked(service, "/control/models/more/load", {"path": str(good)})
        assert status == 507
        assert "cannot be written" in answer["error"]
        assert still_serves(service)


def _children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
