"""Finds tokens that tests of a whole session left where none belongs: in logs, databases, notebooks, what was printed
or logged, and command lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from workbench.share.share_token import PREFIX

READ: Final = (".log", ".sqlite", ".sqlite-journal", ".ipynb", ".html", ".json", ".jsonl", ".out", ".err")
KEPT: Final = ("service.json", "token")
"""The files in which a service keeps its owner's token."""

MOST_BYTES: Final = 16 * 1024 * 1024

_SECRET: Final = re.compile(rb"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43,47}(?![A-Za-z0-9_-])")
"""256 random bits as text, with or without the prefix of a share's token."""


class LeakedTokens:
    """What a session has printed and started, and what it must not have been."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}
        """What looks like a secret -> where it was seen first."""
        sys.addaudithook(self._audit)

    def note(self, text: str, where: str) -> None:
        for found in secrets_in(text.encode("utf-8", "replace")):
            self._seen.setdefault(found, where)

    def found(self, folder: Path) -> list[str]:
        """One line for each share's token, and for each token of a service below `folder`, that was seen or lies in a
        file below `folder`. Names no token."""
        owners = {token for path in folder.rglob("token") for token in _read(path, secrets_in)}
        seen = [(found, where) for found, where in self._seen.items()]
        for path in folder.rglob("*"):
            if path.name.endswith(READ) and path.name not in KEPT:
                seen += [(found, str(path)) for found in _read(path, secrets_in)]
        return sorted({where for found, where in seen if is_shares(found) or found in owners})

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            command = arguments[1]
            parts = list(command) if isinstance(command, list | tuple) else [command]
            if "-c" not in parts:  # a program of a test's own
                self.note(" ".join(map(str, parts)), f"the command line {str(parts[:4])[:200]}")


def secrets_in(data: bytes) -> Iterator[bytes]:
    for match in _SECRET.finditer(data):
        yield match[0]


def is_shares(secret: bytes) -> bool:
    """Whether it is a real token of a share; those that tests make up repeat themselves."""
    random = secret.removeprefix(PREFIX.encode())
    return secret.startswith(PREFIX.encode()) and len(random) == 43 and len(set(random)) > 15


def _read(path: Path, find: Any) -> Iterable[bytes]:
    try:
        return list(find(path.read_bytes())) if path.is_file() and path.stat().st_size <= MOST_BYTES else []
    except OSError:
        return []  # it has gone meanwhile
