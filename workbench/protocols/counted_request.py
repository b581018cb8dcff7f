"""A request whose parts were counted before they are decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from workbench.core.messages import InferRequest

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class CountedRequest(Generic[Answer]):
    """What is within its caps by what was counted, though it may yet be wrong."""

    memory_bytes: int
    """What decoding it takes beside the body, about."""
    decode: Callable[[], tuple[InferRequest, Answer]]
    """The request, and how it wants its answer. Raises errors of the tree."""
