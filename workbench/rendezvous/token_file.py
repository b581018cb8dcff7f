"""The file with the owner's token: read, and replaced in one step. What is in it counts.

A token that others could have read, or written, is none: such a file is refused, with the command that mends it.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from shlex import quote

from workbench.errors import InvalidInput, StorageError
from workbench.rendezvous.atomic_files import write_private

_MOST = 64 * 1024
"""Characters that are read of a file."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=\-]{16,512}")


def read_token(path: Path) -> str:
    """The token in a file: its only line, 16 characters at least. InvalidInput, also where others could read it."""
    token = private_line(path)
    if not _TOKEN.fullmatch(token):
        raise InvalidInput(
            "the token file must hold one token of 16 to 512 letters, digits or any of ._~+/=-; "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
        )
    return token


def private_line(path: Path) -> str:
    """What is in a token file, whatever it looks like: another server's token may. InvalidInput as for `read_token`."""
    try:
        if not path.is_file() and path.exists():  # opening a pipe could wait for ever
            raise InvalidInput("the token file is no regular file")
        with path.open(encoding="utf-8") as file:
            _check_private(os.fstat(file.fileno()), path)
            return file.read(_MOST).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(f"the token file cannot be read: {reason}") from None


def new_token() -> str:
    import secrets  # loads OpenSSL, which most starts can do without

    return secrets.token_urlsafe(32)


def write_token(path: Path, token: str) -> None:
    """Put it into the file in one step: who reads it finds the token of before or this one. StorageError."""
    write_private(path, f"{token}\n", durable=True)


def check_replaceable(path: Path) -> None:
    """Raise StorageError, saying what to do, where the file is not this user's to rewrite."""
    try:
        found = path.lstat()
    except OSError as error:
        raise StorageError(
            f"the token file cannot be found ({error.strerror}): put it back; if it was in the data folder, a "
            "restart of the service writes it again"
        ) from None
    if stat.S_ISLNK(found.st_mode):
        why = "it is a link to a file that something else keeps, as a mounted secret is"
    elif not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        why = "it belongs to another user"
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        why = "its folder cannot be written"
    else:
        return
    raise StorageError(
        f"the token file cannot be replaced here: {why}. Replace the token where the file comes from, and restart the "
        "service"
    )


def _check_private(found: os.stat_result, path: Path) -> None:
    """Root may let a group read a file of its own: so a secret is mounted for a container that is not root."""
    if sys.platform == "win32":
        return
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (os.geteuid(), 0):
        raise InvalidInput(
            f"the token file belongs to another user (uid {found.st_uid}), who knows the token: copy it to a file of "
            "your own, or give another"
        )
    if mode & (0o037 if found.st_uid == 0 else 0o077):
        who = "others" if mode & 0o007 else "its group"
        raise InvalidInput(f"{who} can read or write the token file (mode {mode:04o}): chmod 600 {quote(str(path))}")
