"""A conversion under way: where it says how far it is, and learns that nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Event

from workbench.client.load_progress import LoadProgress


@dataclass(frozen=True, slots=True)
class Conversion:
    progress: LoadProgress = field(default_factory=LoadProgress)
    abandoned: Event = field(default_factory=Event)
    """Set when the caller has gone; the converter then ends soon, and leaves no file behind."""
    signature: str = ""
    """Which signature of a SavedModel is to be exported; empty: its own default."""


_CURRENT: ContextVar[Conversion] = ContextVar("conversion")


@contextmanager
def conversion(progress: LoadProgress, signature: str = "") -> Iterator[Conversion]:
    """Makes one for the converters called inside; leaving by an exception abandons it."""
    this = Conversion(progress, signature=signature)
    token = _CURRENT.set(this)
    try:
        yield this
    except BaseException:
        this.abandoned.set()
        raise
    finally:
        _CURRENT.reset(token)


def current_conversion() -> Conversion:
    """The one that the calling converter is part of; outside of any, one that nobody looks at."""
    return _CURRENT.get(None) or Conversion()
