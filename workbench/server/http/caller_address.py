"""The service's address as callers know it, who may reach it through a proxy or the Jupyter server."""

from __future__ import annotations

import re
from typing import Final

from workbench.errors import InvalidInput
from workbench.server.gate.auth import Headers

_HOST: Final = r"[A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?"
_PATH: Final = r"(/[A-Za-z0-9._~@%+\-]{1,200}){0,20}"
_ADDRESS: Final = re.compile(rf"https?://({_HOST}){_PATH}")


def caller_url(headers: Headers, known: str) -> str:
    """The address that a request was sent to, without a slash at its end; `known` where its headers do not say.

    Host says it, and X-Forwarded-Host, -Proto and -Prefix where a proxy has sent the request on. A caller may write
    there what it likes, so this is told to that caller alone.
    """
    scheme = _first(headers, b"x-forwarded-proto") or known.partition("://")[0]
    host = _first(headers, b"x-forwarded-host") or headers.get(b"host", b"").decode("latin-1")
    url = f"{scheme}://{host}{_first(headers, b'x-forwarded-prefix').rstrip('/')}"
    return url if _ADDRESS.fullmatch(url) else known


def check_address(url: str) -> str:
    """`url` without a slash at its end. Raises InvalidInput for what is no address of a service."""
    found = url.rstrip("/")
    if not _ADDRESS.fullmatch(found):
        raise InvalidInput(f"url must be an address such as https://hub.example.org/user/alice, got {url[:200]!r}")
    return found


def _first(headers: Headers, name: bytes) -> str:
    """The first proxy's word, which is the nearest to the caller."""
    return headers.get(name, b"").decode("latin-1").partition(",")[0].strip()
