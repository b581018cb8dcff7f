"""The files that the service writes about itself, which only their owner may read: data folder, token, ready file."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import InvalidInput, StorageError
from workbench.rendezvous.atomic_files import write_private
from workbench.rendezvous.parent_folders import replaceable_by_others
from workbench.rendezvous.token_file import new_token, read_token, write_token
from workbench.visible_text import visible

TOKEN_FILE = "token"


def private_folder(path: Path) -> Path:
    """`path`, absolute, made with mode 0700 where it was not there, and closed to others where it was open.

    Refused where it, or something that others could have put into it, belongs to another user, and where others could
    put another folder in its place. StorageError.
    """
    try:
        path = path.expanduser().resolve()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        why = _foreign(path, found) or replaceable_by_others(path)
        if not why and stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise StorageError(
            f"the data folder cannot be used ({error.strerror}): check what it is and who owns it, or give another "
            "with --data-dir"
        ) from None
    if why:
        raise StorageError(f"the data folder is not used: {why}, or give another folder with --data-dir")
    return path


def _foreign(path: Path, found: os.stat_result) -> str:
    """What of the folder belongs to another user, and what to do; empty if nothing does."""
    if sys.platform == "win32":
        return ""
    user = os.geteuid()
    if found.st_uid != user:
        return f"it belongs to another user (uid {found.st_uid}), who could read and replace what is in it: chown it"
    if stat.S_IMODE(found.st_mode) & 0o022:
        for each in sorted(path.iterdir()):
            if each.lstat().st_uid != user:
                return f"others could write it, and one of them has put {visible(each.name)!r} there: remove that"
    return ""


def load_or_create_token(data_dir: Path, known: str | None = None) -> tuple[str, Path]:
    """The token that this data folder has, or a new one. One that others could have read is replaced.

    Where the file is gone, `known` is written back: the token of a service that runs.
    """
    path = data_dir / TOKEN_FILE
    try:
        found = path.lstat()
        if stat.S_IMODE(found.st_mode) == 0o600 and (sys.platform == "win32" or found.st_uid == os.geteuid()):
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
