"""The table of what others may call through the Jupyter server: what a share's token may do, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ENDPOINT: Final = "infer-workbench/endpoint"
"""The path of the endpoint below the base URL."""

_NAME: Final = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}"
_MODEL: Final = rf"/v2/models/{_NAME}(/versions/{_NAME})?"


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """Paths that the service has under the same name."""

    pattern: re.Pattern[str]
    methods: tuple[str, ...]
    public: bool = False
    """Needs no token: what a link is redeemed with, and whether the service is there."""


def _route(pattern: str, *methods: str, public: bool = False) -> EndpointRoute:
    return EndpointRoute(re.compile(pattern), methods, public)


ROUTES: Final = (
    _route(r"/share/claim", "GET", "HEAD", "POST", public=True),
    _route(r"/share/claim\.(js|css)", "GET", "HEAD", public=True),
    _route(r"/v2/health/(live|ready)", "GET", "HEAD", public=True),
    _route(r"/openapi\.json", "GET", "HEAD"),
    _route(r"/v2", "GET", "HEAD"),
    _route(r"/v2/models/stats", "GET", "HEAD"),
    _route(rf"{_MODEL}(/ready|/config|/stats)?", "GET", "HEAD"),
    _route(rf"{_MODEL}/infer", "POST"),
    _route(r"/v2/repository/index", "POST"),
)


def find_route(path: str) -> EndpointRoute | None:
    """The route of a path as it was sent, percent signs and all: no name that a model may have needs one."""
    return next((route for route in ROUTES if route.pattern.fullmatch(path)), None)
