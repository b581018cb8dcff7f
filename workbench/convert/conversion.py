"""A conversion under way: it says here how far it is, and learns here that its caller has stopped waiting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Event

from workbench.client.load_progress import LoadProgress
from workbench.convert.serving_version import ServingVersion


@dataclass(frozen=True, slots=True)
class Conversion:
    progress: LoadProgress = field(default_factory=LoadProgress)
    abandoned: Event = field(default_factory=Event)
    """Set when the caller has gone; the converter then ends soon, and leaves no file behind."""
    signature: str = ""
    """Which signature of a SavedModel is to be exported; empty: its own default."""
    serving: ServingVersion | None = None
    """What serves under the name, whose callers must not break; None: nothing, or it is to be replaced all the same."""


_CURRENT: ContextVar[Conversion] = ContextVar("conversion")


@contextmanager
def conversion(
    progress: LoadProgress, signature: str = "", serving: ServingVersion | None = None
) -> Iterator[Conversion]:
    """Makes one for the converters called inside; leaving by an exception abandons it."""
    this = Conversion(progress, signature=signature, serving=serving)
    token = _CURRENT.set(this)
    try:
        yield this
    except BaseException:
        this.abandoned.set()
        raise
    finally:
        _CURRENT.reset(token)


def current_conversion() -> Conversion:
    """The one that the calling converter is part of; outside of any, one that is not shown."""
    return _CURRENT.get(None) or Conversion()


def expect_inputs(shapes: Mapping[str, Sequence[int]]) -> None:
    """Say which inputs the export will have, before it is made. Raises SignatureChanged, which spares the user the
    wait, where another version serves under the name and has others; see `ServingVersion.refuse_inputs`."""
    if (serving := current_conversion().serving) is not None:
        serving.refuse_inputs(shapes)
