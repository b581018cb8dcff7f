"""What Tab offers after `%infer`: verbs, model names, flags, settings and the notebook's variables.

Attributes, keys and files are left to IPython's own completion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.error import TryNext

from workbench.client.settings import SHORT_NAMES
from workbench.config import ModelConfig
from workbench.errors import WorkbenchError
from workbench.notebook.commands import VERBS

if TYPE_CHECKING:
    from workbench.api import Workbench

_DEVICES = ("auto", "cpu", "cuda")


class Completer:
    """IPython's `complete_command` hook. Asks the service for names only where one is connected already."""

    def __init__(self, connected: Callable[[], Workbench | None]) -> None:
        self._connected = connected

    def __call__(self, shell: Any, event: Any) -> list[str]:
        variables = [name for name in shell.user_ns if not name.startswith("_") and name not in shell.user_ns_hidden]
        return candidates(event.text_until_cursor, self._names, variables)

    def _names(self) -> list[str]:
        try:
            workbench = self._connected()
            return list(workbench) if workbench is not None else []
        except WorkbenchError:
            return []


def candidates(text: str, names: Callable[[], Iterable[str]], variables: Iterable[str] = ()) -> list[str]:
    """What may stand at the end of `text`, a line up to the cursor; TryNext where IPython knows better."""
    words = text.split()
    if text[-1:].isspace():
        words.append("")
    before, word = words[1:-1], words[-1]
    if not before:
        return list(VERBS)
    verb = VERBS.get(before[0])
    if verb is None:
        raise TryNext
    if word.startswith("-"):
        return [flag for flag in verb.flags if flag not in before]
    if before[-1] == "--device":
        return list(_DEVICES)
    place = len([other for other in before[1:] if not other.startswith("-")])
    position = verb.positions[min(place, len(verb.positions) - 1)] if verb.positions else ""
    if position == "NAME":
        return list(names())
    if position == "KEY=VALUE" and "=" not in word:
        settings = [field.name for field in dataclasses.fields(ModelConfig)]
        return [f"{name}=" for name in (*SHORT_NAMES, *settings)]
    if position == "[VERB]":
        return list(VERBS)
    if position in ("SOURCE", "EXPR") and (word.isidentifier() or not word):
        return list(variables)
    raise TryNext
