"""Decides whether this service runs Python functions. To load one is to run its author's code as the service's user."""

from __future__ import annotations

from workbench.config import ServerConfig
from workbench.server.process.bind_address import is_loopback


def why_no_functions(config: ServerConfig) -> str:
    """The reason why Python functions are refused, as a sentence; empty: they are run."""
    if not config.auth:
        return "this service runs no Python functions: it has no token (--no-auth), and anybody could run code on it"
    if config.python_functions == "off":
        return "this service runs no Python functions: its setting python_functions is off"
    if config.python_functions == "auto" and not is_loopback(config.host):
        return (
            "this service runs no Python functions: other machines reach it, and then its setting python_functions "
            "must be on"
        )
    return ""
