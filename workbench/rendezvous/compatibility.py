"""Checks that the service runs on this platform, and that a client and a service understand each other."""

from __future__ import annotations

import sys

from workbench.errors import Unsupported

API = 1
"""The API's major version; within it, what a client of an older or newer release sends is understood."""


def check_platform() -> None:
    """Raises Unsupported on Windows, where the service has never run."""
    if sys.platform == "win32":
        raise Unsupported(
            "Windows is not supported: the service runs on Linux and macOS; connect(url, token) reaches one there"
        )


def check_versions(mine: str, theirs: str, their_api: int) -> str:
    """One line for the user where the two differ, else nothing. Raises Unsupported for another API."""
    if not theirs or (mine, API) == (theirs, their_api):
        return ""
    if their_api != API:
        raise Unsupported(
            f"version {theirs} of the service is running, which speaks API {their_api}; this is {mine}, which speaks "
            f"API {API}: restart it to have {mine} (in a notebook: `%infer restart`)"
        )
    return f"{theirs} is running, you have {mine}: restart it to have that (in a notebook: `%infer restart`)"
