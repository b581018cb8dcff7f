"""ServerConfig from the environment and from flags; the flags win. Every variable is in docs/settings.md."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.config import DEFAULT_HTTP_PORT, ServerConfig, limits_from_environment, settings_of
from workbench.config.settings_schema import Choices, as_kind
from workbench.core.model import check_model_name
from workbench.errors import InvalidInput
from workbench.rendezvous.folder import standalone_data_folder


def server_config(flags: Mapping[str, object], environment: Mapping[str, str]) -> ServerConfig:
    """The settings of `serve`. `flags` holds those that were given, by the names of ServerConfig's fields.

    Raises InvalidInput, naming the variable where it was one.
    """
    settings: dict[str, Any] = {"limits": limits_from_environment(environment)}
    for name, setting in settings_of(ServerConfig).items():
        if (text := environment.get(setting.variable, "")) != "":
            settings[name] = _read(setting.variable, text, setting.kind)
    settings |= flags
    if "data_dir" not in settings:
        settings["data_dir"] = standalone_data_folder(settings.get("http_port", DEFAULT_HTTP_PORT))
    return ServerConfig(**settings)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `serve`. One that is not given is None: its setting comes from the environment, or its default."""
    groups: dict[str, Any] = {}
    for name, setting in settings_of(ServerConfig).items():
        if (flag := setting.flag) is None:
            continue
        if flag.excludes and flag.excludes not in groups:
            groups[flag.excludes] = parser.add_mutually_exclusive_group()
        where = groups.get(flag.excludes, parser)
        options: dict[str, Any] = {"dest": name, "help": flag.help, "default": None}
        if setting.kind is bool and not flag.metavar:
            options |= {"action": "store_const", "const": not setting.default}
        elif isinstance(setting.allowed, Choices):
            options["choices"] = setting.allowed.words
        elif setting.kind in _PARTS:
            options |= {"metavar": flag.metavar, "action": "append"}
        else:
            options |= {"metavar": flag.metavar, "type": _argument(setting.kind)}
            if setting.kind is bool:  # without a value it says yes
                options |= {"nargs": "?", "const": True}
        where.add_argument(flag.name, **options)


def given_flags(arguments: argparse.Namespace) -> dict[str, object]:
    """The flags that were given, for `server_config`. InvalidInput."""
    flags: dict[str, Any] = {}
    for name, setting in settings_of(ServerConfig).items():
        if (given := getattr(arguments, name, None)) is not None:
            flags[name] = tuple(map(_PARTS[setting.kind], given)) if setting.kind in _PARTS else given
    # A flag also undoes what the environment says to the contrary.
    if "auth" in flags:
        flags["token_file"] = None
    elif "token_file" in flags:
        flags["auth"] = True
    return flags


def named_path(text: str) -> tuple[str, Path]:
    """NAME=PATH, as --load takes it. InvalidInput."""
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise InvalidInput(f"{text[:80]!r} is not NAME=PATH")
    return check_model_name(name), Path(path)


_PARTS: Mapping[Any, Callable[[str], object]] = {tuple[Path, ...]: Path, tuple[tuple[str, Path], ...]: named_path}
"""What one part of a setting with several is read by."""


def _read(variable: str, text: str, kind: Any) -> object:
    """A setting of that type from the environment, where several are separated as in PATH."""
    if (part := _PARTS.get(kind)) is None:
        return _value(variable, text, kind)
    try:
        return tuple(part(each) for each in text.split(os.pathsep) if each)
    except InvalidInput as error:
        raise InvalidInput(f"{variable}: {error.message}") from None


def _value(name: str, text: str, kind: Any) -> object:
    return Path(text) if kind is Path else as_kind(name, text, kind)


def _argument(kind: Any) -> Callable[[str], object]:
    """Reads one value of a flag; argparse says which flag it was."""

    def read(text: str) -> object:
        try:
            return _value("value", text, kind)
        except InvalidInput as error:
            raise argparse.ArgumentTypeError(error.message) from None

    return read
