from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.services.contents.filemanager import AsyncFileContentsManager, FileContentsManager
from tornado.web import HTTPError

from workbench.errors import Forbidden, InvalidInput, NotFound, TooLarge
from workbench.jupyter.model_source import find


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a model.onnx").write_bytes(b"onnx")
    (root / ".hidden.onnx").write_bytes(b"onnx")
    (tmp_path / "outside.onnx").write_bytes(b"onnx")
    return root


@pytest.fixture(params=[FileContentsManager, AsyncFileContentsManager])
def files(request: pytest.FixtureRequest, root: Path) -> Any:
    return request.param(root_dir=str(root))


class Elsewhere:
    """A contents manager that keeps no files: a database, an object store."""

    async def get(self, path: str, content: bool = True, type: str | None = None, format: str | None = None) -> Any:
        if path == "folder":
            return {"type": "directory", "content": None}
        if path != "model.onnx":
            raise HTTPError(404, f"no such entity {path}")
        return {"type": "file", "content": base64.encodebytes(b"onnx").decode() if content else None}


@pytest.mark.parametrize("asked", ["sub/a model.onnx", "sub"])
async def test_a_path_of_the_file_browser_is_one_below_its_root(files: Any, root: Path, asked: str) -> None:
    assert (await find(files, asked, absolute=False)).path == root / asked


@pytest.mark.parametrize("asked", ["absent.onnx", "../outside.onnx", "sub/../../outside.onnx", ".hidden.onnx", "C:/x"])
async def test_what_the_file_browser_does_not_show_is_not_found(files: Any, asked: str) -> None:
    with pytest.raises(NotFound, match="in the file browser"):
        await find(files, asked, absolute=True)


async def test_a_path_of_the_machine_may_be_forbidden_but_for_those_below_the_root(files: Any, root: Path) -> None:
    outside = root.parent / "outside.onnx"
    assert (await find(files, str(outside), absolute=True)).path == outside
    with pytest.raises(Forbidden, match="allow_absolute_paths"):
        await find(files, str(outside), absolute=False)
    with pytest.raises(Forbidden):
        await find(files, f"{root}/../outside.onnx", absolute=False)
    inside = root / "sub" / "a model.onnx"
    assert (await find(files, str(inside), absolute=False)).path == inside
    with pytest.raises(NotFound, match="on this machine"):
        await find(files, str(root.parent / "absent.onnx"), absolute=True)


async def test_a_tilde_is_the_home_folder(files: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    assert (await find(files, "~/outside.onnx", absolute=True)).path == root.parent / "outside.onnx"
    with pytest.raises(InvalidInput, match="home folder"):
        await find(files, "~nobody-of-this-name/x.onnx", absolute=True)


@pytest.mark.parametrize("asked", ["/" + "x" * 5000, "x" * 5000])
async def test_a_path_that_the_system_does_not_take_is_told_in_words(files: Any, asked: str) -> None:
    with pytest.raises((NotFound, InvalidInput)):
        await find(files, asked, absolute=True)


@pytest.mark.parametrize("asked", ["", "a\0b"])
async def test_what_is_no_path_is_refused(files: Any, asked: str) -> None:
    with pytest.raises(InvalidInput):
        await find(files, asked, absolute=True)


async def test_what_lies_elsewhere_than_on_the_disk_is_fetched() -> None:
    found = await find(Elsewhere(), "model.onnx", absolute=False)
    assert (found.path, found.content) == (None, b"onnx")
    with pytest.raises(NotFound):
        await find(Elsewhere(), "absent.onnx", absolute=False)
    with pytest.raises(InvalidInput, match="one ONNX file"):
        await find(Elsewhere(), "folder", absolute=False)


class Sized(Elsewhere):
    """One that says how large its files are, or None, and counts how often one was fetched."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self.fetched = 0

    async def get(self, path: str, content: bool = True, type: str | None = None, format: str | None = None) -> Any:
        self.fetched += content
        return {**await super().get(path, content), "size": self.size}


@pytest.mark.parametrize(("size", "fetched"), [(4, 0), (None, 1)])
async def test_of_what_lies_elsewhere_not_too_much_is_fetched(
    monkeypatch: pytest.MonkeyPatch, size: int | None, fetched: int
) -> None:
    monkeypatch.setattr("workbench.jupyter.model_source.MAX_FETCHED_BYTES", 3)
    elsewhere = Sized(size)
    with pytest.raises(TooLarge, match="copy it to a disk"):
        await find(elsewhere, "model.onnx", absolute=False)
    assert elsewhere.fetched == fetched
