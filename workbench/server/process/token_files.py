"""The files that the service writes about itself, which only their owner may read: data folder, token, ready file."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import InvalidInput, StorageError
from workbench.rendezvous.atomic_files import write_private
from workbench.rendezvous.token_file import new_token, read_token, write_token

TOKEN_FILE = "token"


def private_folder(path: Path) -> Path:
    """`path`, absolute, made with mode 0700 where it was not there, and closed to others where it was open."""
    try:
        path = path.expanduser().resolve()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise StorageError(
            f"the data folder cannot be used ({error.strerror}): check what it is and who owns it, or give another "
            "with --data-dir"
        ) from None
    return path


def load_or_create_token(data_dir: Path, known: str | None = None) -> tuple[str, Path]:
    """The token that this data folder has, or a new one. One that others could have read is replaced.

    Where the file is gone, `known` is written back: the token of a service that runs.
    """
    path = data_dir / TOKEN_FILE
    try:
        if stat.S_IMODE(path.lstat().st_mode) == 0o600:
            return read_token(path), path
        known = None
    except FileNotFoundError:
        pass
    except (OSError, InvalidInput):
        known = None
    token = known or new_token()
    write_token(path, token)
    return token, path


def write_ready_file(path: Path, content: Mapping[str, object]) -> None:
    write_private(path, json.dumps(content) + "\n")


def has_content(path: Path, content: Mapping[str, object]) -> bool:
    """Whether this ready file is there, with this content."""
    try:
        return bool(json.loads(path.read_bytes()) == content)
    except (OSError, ValueError):
        return False
