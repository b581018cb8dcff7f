"""Finds a model that a page names: by a path of JupyterLab's file browser, or of the machine.

A path of the file browser goes through the contents manager. A file that is not on this machine's disk is fetched and
uploaded; others are loaded from their place.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.services.contents.fileio import FileManagerMixin
from tornado.web import HTTPError

from workbench.core.threads import in_thread
from workbench.errors import Forbidden, InvalidInput, NotFound, TooLarge

MAX_FETCHED_BYTES = 512 * 1024 * 1024
"""Of a model that the contents manager does not keep on a disk: it is held in this process until it is uploaded."""


@dataclass(frozen=True, slots=True)
class BrowsedModel:
    """A model to load. Exactly one field is set."""

    path: Path | None = None
    content: bytes | None = None


async def find(contents: Any, asked: str, *, absolute: bool) -> BrowsedModel:
    """Find the model that `asked` names. `absolute` allows a path of the machine ("/..." or "~/...") outside the file
    browser's root.

    Raises InvalidInput, NotFound or Forbidden.
    """
    if not asked or "\0" in asked:
        raise InvalidInput("path must name the model file, as the file browser shows it")
    if asked.startswith(("/", "~")):
        path = _expanded(asked)
        root = _root(contents)
        if root is None or not path.is_relative_to(root):
            if not absolute:
                raise Forbidden(
                    f"{asked!r} lies outside the file browser's folder, and this server takes no such paths "
                    "(InferWorkbench.allow_absolute_paths): copy the model there, or upload it"
                )
            await in_thread(lambda: _check_there(path, asked))
            return BrowsedModel(path=path)
        asked = path.relative_to(root).as_posix()
    return await _of_contents(contents, asked)


async def _of_contents(contents: Any, asked: str) -> BrowsedModel:
    try:
        found = await ensure_async(contents.get(asked, content=False))
        if isinstance(contents, FileManagerMixin):
            return BrowsedModel(path=Path(contents._get_os_path(asked.strip("/"))))  # type: ignore[no-untyped-call]
        if found["type"] == "directory":
            raise InvalidInput(f"{asked!r} is a folder that is not on this server's disk: load one ONNX file of it")
        _check_size(found.get("size") or 0, asked)
        found = await ensure_async(contents.get(asked, content=True, type="file", format="base64"))
    except HTTPError as error:
        if error.status_code == 404:
            raise NotFound(f"there is no file or folder {asked!r} in the file browser") from None
        raise InvalidInput(f"{asked!r} cannot be read: {error.log_message or error.reason}") from None
    _check_size(len(found["content"]) // 4 * 3, asked)
    return BrowsedModel(content=base64.b64decode(found["content"]))


def _check_size(size: int, asked: str) -> None:
    if size > MAX_FETCHED_BYTES:
        raise TooLarge(
            f"{asked[:200]!r} has {size} bytes, and of a file that is not on this server's disk at most "
            f"{MAX_FETCHED_BYTES} are fetched: copy it to a disk of the service's machine"
        )


def _expanded(asked: str) -> Path:
    try:
        return Path(os.path.normpath(Path(asked).expanduser()))
    except RuntimeError:
        raise InvalidInput(f"{asked!r} does not name a known home folder") from None


def _check_there(path: Path, asked: str) -> None:
    """Check that the path exists. Blocks."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no file or folder {asked[:200]!r} on this machine") from None
    except OSError as error:  # no permission on the way there, a name that is too long, a loop of links
        raise InvalidInput(f"{asked[:200]!r} cannot be read: {error.strerror}") from None


def _root(contents: Any) -> Path | None:
    root: str | None = getattr(contents, "root_dir", None) if isinstance(contents, FileManagerMixin) else None
    return None if root is None else Path(root).absolute()
