"""Base class of totals that only grow: it copies them, and subtracts an older copy, field by field."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter, defaultdict
from typing import Any, Final, Self

LATEST: Final = {"latest": True}
"""Metadata of a field that holds the newest value instead of a sum; `since` keeps it as it is."""


class Totals:
    """Base of dataclasses whose fields are numbers, arrays, Counters, histograms, other Totals, defaultdicts of
    numbers or dicts of Counters.

    `copy` and `since` follow the field declarations, so a new total is one new field.
    """

    __slots__ = ()

    def copy(self) -> Self:
        """Return a copy that later additions do not change."""
        return type(self)(**{name: _copied(getattr(self, name)) for name, _ in _fields(self)})

    def since(self, earlier: Self) -> Self:
        """Return what was added after `earlier`, an older copy."""
        added = {}
        for name, is_latest in _fields(self):
            value = getattr(self, name)
            added[name] = value if is_latest else _difference(value, getattr(earlier, name))
        return type(self)(**added)


def _fields(totals: Any) -> list[tuple[str, bool]]:
    """Return (name, whether it holds the newest value) of each field."""
    return _declared(totals.__class__)


@functools.cache
def _declared(kind: Any) -> list[tuple[str, bool]]:
    return [(each.name, "latest" in each.metadata) for each in dataclasses.fields(kind)]


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {key: counter.copy() for key, counter in value.items()}
    return value.copy() if hasattr(value, "copy") else value


def _difference(value: Any, earlier: Any) -> Any:
    """Subtract. Counters drop what did not grow, and dicts drop the Counters that are empty then."""
    if hasattr(value, "since"):
        return value.since(earlier)
    if isinstance(value, defaultdict):
        return defaultdict(value.default_factory, {key: each - earlier.get(key, 0) for key, each in value.items()})
    if type(value) is dict:
        grown = {key: counter - earlier.get(key, Counter()) for key, counter in value.items()}
        return {key: counter for key, counter in grown.items() if counter}
    return value - earlier
