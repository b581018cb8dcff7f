"""Keeps the end of what a function prints, for the service's log."""

from __future__ import annotations

import io

LOG_CHARACTERS = 2_000


class Printed(io.TextIOBase):
    """The last of what the function printed. Its threads may print at the same time: then some of it may be lost."""

    def __init__(self) -> None:
        self._text = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._text = (self._text + text[-LOG_CHARACTERS:])[-LOG_CHARACTERS:]
        return len(text)

    def taken(self) -> str:
        text, self._text = self._text, ""
        return text
