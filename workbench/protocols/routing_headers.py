"""Reads the headers that say which version a request goes to where a model's calls are split (docs/versions.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from workbench.core.messages import InferRequest

ROUTE_KEY: Final = b"x-route-key"
ROUTING_HEADERS: Final = {b"x-route": "route", ROUTE_KEY: "route_key"}
"""Headers that stand for parameters of a request: which version it asks for, and whose calls stay on one side."""

Answer = TypeVar("Answer")


def routing_parameters(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The parameters of routing that headers give."""
    return {name: headers[header].decode("latin-1") for header, name in ROUTING_HEADERS.items() if header in headers}


def with_routing(decoded: tuple[InferRequest, Answer], routing: Mapping[str, str]) -> tuple[InferRequest, Answer]:
    """The same request with the parameters of its headers. Those of its body win."""
    request, answer = decoded
    request.parameters = {**routing, **request.parameters}
    return request, answer
