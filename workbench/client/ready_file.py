"""Reads the file that `serve --ready-file` wrote, and believes it only if this user's own service can have written it.

It names an address, and the file whose content is sent there. One that somebody else made, or that came with a
download, could name any file of the user, and an address where its maker listens.
"""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import InvalidInput
from workbench.rendezvous.own_file import NotOwnError, read_own, why_not_own

MAX_BYTES = 64 * 1024

_INSTEAD = "name the service with --url URL --token-file FILE instead"


@dataclass(frozen=True, slots=True)
class ReadyService:
    """What a ready file names."""

    url: str
    token_file: Path | None
    """None: the service asks for no token."""
    ca_file: str = ""
    """PEM by which its certificate is known; empty without TLS."""


def read_ready_file(path: Path, token_file: Path | None = None) -> ReadyService:
    """The service that the file at `path` names. `token_file` is one that the user chose, which may lie anywhere; a
    file that only the ready file names must be the `token` of a data folder. Raises InvalidInput."""
    try:
        found = json.loads(_own_text(path))
        url, named, ca_file = found["url"], found.get("token_file"), found.get("ca_file") or ""
    except (ValueError, RecursionError, TypeError, LookupError, AttributeError):
        url = named = ca_file = None
    if (
        not isinstance(url, str)
        or not url.startswith(("http://", "https://"))
        or not isinstance(named, str | None)
        or not isinstance(ca_file, str)
    ):
        raise InvalidInput("the ready file names no service; give the file that `serve --ready-file` wrote")
    if named is None or token_file is not None:
        return ReadyService(url, None if named is None else token_file, ca_file)
    if why := _not_a_token_file(Path(named)):
        raise InvalidInput(
            f"the ready file names {named[:200]!r} as its token file, which is not used: {why}; give it with "
            "--token-file FILE, too, if it is the service's"
        )
    return ReadyService(url, Path(named), ca_file)


def _own_text(path: Path) -> str:
    try:
        return read_own(path, MAX_BYTES)
    except NotOwnError as error:
        raise InvalidInput(f"the ready file is not believed: {error.strerror}; {_INSTEAD}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(f"the ready file cannot be read: {reason}; is the service running?") from None


def _not_a_token_file(path: Path) -> str:
    """Why no service of this user keeps its token there; empty if one may."""
    if not path.is_absolute() or path.name != "token":
        return "it is not the file 'token' of a data folder"
    try:
        folder, file = path.parent.lstat(), path.lstat()
    except OSError as error:
        return f"it cannot be found ({error.strerror})"
    if why := why_not_own(folder, stat.S_ISDIR, others_may=0):
        return f"of its folder, {why}"
    return why_not_own(file, stat.S_ISREG, others_may=0)
