"""Counts the requests that came to a version by another way than as the routed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

from workbench.core.messages import InferRequest


class Way(StrEnum):
    """How a request came to a version."""

    VERSION = "version"
    """It names the version."""
    LABEL = "label"
    """It names a label of the version."""
    FORCED = "forced"
    """Its parameter `route` asks for this side of a split."""
    SPLIT = "split"
    """By the weights of a split."""
    SHARE = "share"
    """By the weights for the share that it came with."""


class Accepting(Protocol):
    """What a request is handed to: a version, or what stands before one."""

    def submit(self, request: InferRequest, promise: Any, /) -> None: ...


class RouteCounts:
    """Of all models of an engine. Belongs to the event loop."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def count(self, name: str, version: str, way: Way) -> None:
        """One request more that the version has accepted."""
        self._counts[name, version, way] += 1

    def counted(self) -> Mapping[tuple[str, str, str], int]:
        """By model, version and way."""
        return MappingProxyType(self._counts)

    def forget(self, name: str, version: str) -> None:
        """The version is not loaded any more."""
        for way in Way:
            self._counts.pop((name, version, way), None)


class Named:
    """Stands in the routing table before a version that a request names, by its number or a label."""

    __slots__ = ("_counts", "_target", "_way", "_whose")

    def __init__(self, target: Accepting, name: str, version: str, way: Way, counts: RouteCounts) -> None:
        self._target = target
        self._whose = name, version
        self._way = way
        self._counts = counts

    def submit(self, request: InferRequest, promise: Any, /) -> None:
        """As the version does it, which also raises what it raises."""
        self._target.submit(request, promise)
        self._counts.count(*self._whose, self._way)
