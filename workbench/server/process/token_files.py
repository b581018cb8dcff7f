"""The files that the service writes about itself, which only their owner may read: data folder, token, ready file."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import InvalidInput, StorageError
from workbench.rendezvous.atomic_files import write_private

TOKEN_FILE = "token"

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=\-]{16,512}")


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


def read_token(path: Path) -> str:
    """The token in a file that the user named: its only line, 16 characters at least."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(f"the token file cannot be read: {reason}") from None
    if not _TOKEN.fullmatch(token):
        raise InvalidInput(
            "the token file must hold one token of 16 to 512 letters, digits or any of ._~+/=-; "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
        )
    return token


def load_or_create_token(data_dir: Path) -> tuple[str, Path]:
    """The token that this data folder has, or a new one. One that others could have read is replaced."""
    path = data_dir / TOKEN_FILE
    try:
        if stat.S_IMODE(path.lstat().st_mode) == 0o600:
            return read_token(path), path
    except (OSError, InvalidInput):
        pass
    import secrets  # loads OpenSSL, which most starts can do without

    token = secrets.token_urlsafe(32)
    write_private(path, f"{token}\n")
    return token, path


def save_token(path: Path, token: str) -> None:
    """Put back an owner's token that somebody deleted or replaced since. StorageError."""
    try:
        if read_token(path) == token and stat.S_IMODE(path.lstat().st_mode) == 0o600:
            return
    except (OSError, InvalidInput):
        pass
    write_private(path, f"{token}\n")


def write_ready_file(path: Path, content: Mapping[str, object]) -> None:
    write_private(path, json.dumps(content) + "\n")


def has_content(path: Path, content: Mapping[str, object]) -> bool:
    """Whether this ready file is there, with this content."""
    try:
        return bool(json.loads(path.read_bytes()) == content)
    except (OSError, ValueError):
        return False
