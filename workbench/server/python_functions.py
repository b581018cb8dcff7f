"""Decides whether this service runs Python functions. To load one is to run its author's code as the service's user."""

from __future__ import annotations

from pathlib import Path

from workbench.config import ModelConfig, ServerConfig
from workbench.core.ports import Session
from workbench.core.runtime import PYTHON
from workbench.errors import ModelError
from workbench.runtimes.registry import Opener, open_session, runtime_for
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


def opener_for(config: ServerConfig) -> Opener:
    """Opens models of all kinds but those that are refused."""
    reason = why_no_functions(config)
    if not reason:
        return open_session

    def opened(path: Path, config: ModelConfig, *, instances: int) -> Session:
        if runtime_for(path) is PYTHON:
            raise ModelError(reason)
        return open_session(path, config, instances=instances)

    return opened
