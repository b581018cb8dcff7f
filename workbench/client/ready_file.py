"""Reads the file that `serve --ready-file` wrote, and believes it only if this user's own service can have written it.

It names an address, and the file whose content is sent there. One that somebody else made, or that came with a
download, could name any file of the user, and an address where its maker listens.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import InvalidInput

MAX_BYTES = 64 * 1024

_INSTEAD = "name the service with --url URL --token-file FILE instead"


@dataclass(frozen=True, slots=True)
class ReadyService:
    """What a ready file names."""

    url: str
    token_file: Path | None
    """None: the service asks for no token."""


def read_ready_file(path: Path, token_file: Path | None = None) -> ReadyService:
    """The service that the file at `path` names. `token_file` is one that the user chose, which may lie anywhere; a
    file that only the ready file names must be the `token` of a data folder. Raises InvalidInput."""
    try:
        found = json.loads(_own_text(path))
        url, named = found["url"], found.get("token_file")
    except (ValueError, RecursionError, TypeError, LookupError, AttributeError):
        url = named = None
    if not isinstance(url, str) or not url.startswith("http://") or not isinstance(named, str | None):
        raise InvalidInput("the ready file names no service; give the file that `serve --ready-file` wrote")
    if named is None or token_file is not None:
        return ReadyService(url, None if named is None else token_file)
    if why := _not_a_token_file(Path(named)):
        raise InvalidInput(
            f"the ready file names {named[:200]!r} as its token file, which is not used: {why}; give it with "
            "--token-file FILE, too, if it is the service's"
        )
    return ReadyService(url, Path(named))


def _own_text(path: Path) -> str:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)  # neither follows a link nor waits at a pipe
        try:
            if why := _not_own(os.fstat(descriptor), stat.S_ISREG, others_may=0o044):
                raise InvalidInput(f"the ready file is not believed: {why}; {_INSTEAD}")
            return os.read(descriptor, MAX_BYTES).decode()
        finally:
            os.close(descriptor)
    except UnicodeDecodeError:
        raise InvalidInput("the ready file cannot be read: it is not text; is the service running?") from None
    except OSError as error:
        if path.is_symlink():
            raise InvalidInput(f"the ready file is not believed: it is a symbolic link; {_INSTEAD}") from None
        raise InvalidInput(f"the ready file cannot be read: {error.strerror}; is the service running?") from None


def _not_a_token_file(path: Path) -> str:
    """Why no service of this user keeps its token there; empty if one may."""
    if not path.is_absolute() or path.name != "token":
        return "it is not the file 'token' of a data folder"
    try:
        folder, file = path.parent.lstat(), path.lstat()
    except OSError as error:
        return f"it cannot be found ({error.strerror})"
    if why := _not_own(folder, stat.S_ISDIR, others_may=0):
        return f"of its folder, {why}"
    return _not_own(file, stat.S_ISREG, others_may=0)


def _not_own(found: os.stat_result, is_kind: Any, others_may: int) -> str:
    """Why it is not this user's own, and closed to others but for the bits in `others_may`; empty if it is."""
    if not is_kind(found.st_mode):
        return "it is not a regular file" if is_kind is stat.S_ISREG else "it is not a folder"
    if sys.platform == "win32":
        return ""
    if found.st_uid != os.geteuid():
        return f"it belongs to another user (uid {found.st_uid})"
    if (mode := stat.S_IMODE(found.st_mode)) & 0o077 & ~others_may:
        return f"others may change or read it (mode {mode:04o})"
    return ""
