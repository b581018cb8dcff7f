"""ServerConfig from the environment and from flags; the flags win. Every variable is in docs/settings.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.config import DEFAULT_HTTP_PORT, ENVIRONMENT_PREFIX, ServerConfig, limits_from_environment
from workbench.core.model import check_model_name
from workbench.errors import InvalidInput
from workbench.rendezvous.folder import standalone_data_folder


def server_config(flags: Mapping[str, object], environment: Mapping[str, str]) -> ServerConfig:
    """The settings of `serve`. `flags` holds those that were given, by the names of ServerConfig's fields.

    Raises InvalidInput, naming the variable where it was one.
    """
    settings: dict[str, Any] = {"limits": limits_from_environment(environment)}
    for name, read in _READERS.items():
        variable = variable_of(name)
        if (text := environment.get(variable, "")) != "":
            try:
                settings[name] = read(text)
            except ValueError as error:
                raise InvalidInput(f"{variable} is {text[:80]!r}; {error}") from None
            except InvalidInput as error:
                raise InvalidInput(f"{variable}: {error.message}") from None
    settings |= flags
    if "data_dir" not in settings:
        settings["data_dir"] = standalone_data_folder(settings.get("http_port", DEFAULT_HTTP_PORT))
    return ServerConfig(**settings)


def variable_of(field: str) -> str:
    """The environment variable of a setting of ServerConfig or Limits."""
    return f"{ENVIRONMENT_PREFIX}{field.upper()}"


def named_path(text: str) -> tuple[str, Path]:
    """NAME=PATH, as --load takes it. InvalidInput."""
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise InvalidInput(f"{text[:80]!r} is not NAME=PATH")
    return check_model_name(name), Path(path)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("it takes a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("it takes a number") from None


def _switch(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise ValueError("it takes true or false") from None


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part) for part in text.split(os.pathsep) if part)


def _named_paths(text: str) -> tuple[tuple[str, Path], ...]:
    return tuple(named_path(part) for part in text.split(os.pathsep) if part)


_READERS: dict[str, Callable[[str], object]] = {
    "host": str,
    "http_port": _whole_number,
    "grpc_port": _whole_number,
    "grpc_tls_cert": Path,
    "grpc_tls_key": Path,
    "grpc_tls_client_ca": Path,
    "model_repositories": _paths,
    "load": _named_paths,
    "data_dir": Path,
    "token_file": Path,
    "auth": _switch,
    "ready_file": Path,
    "log_format": str,
    "log_requests": str,
    "slow_request_s": _number,
    "drain_timeout_s": _number,
    "run_limit_s": _number,
    "deaf_limit_s": _number,
    "idle_end_s": _number,
    "state_key": str,
    "trial": _switch,
    "trial_timeout_s": _number,
    "trial_memory_mib": _whole_number,
    "allow_shared_memory": _switch,
}
