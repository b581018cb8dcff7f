"""What the client verbs share: which service they call, and how they answer.

They have the same names as the `%infer` verbs and the methods of `workbench.Workbench`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.config import ENVIRONMENT_PREFIX
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    from workbench.api import Workbench

Verb = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
"""Its help text, what adds its arguments, and what runs it and returns the exit status."""


def add_service(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("choose the service (by --ready-file or --url; your shared one by default)")
    where.add_argument("--ready-file", metavar="FILE", type=Path, help="file that `serve --ready-file` wrote")
    where.add_argument("--url", help="address of the service: http://HOST:PORT, or https:// with TLS")
    where.add_argument("--token-file", metavar="FILE", type=Path, help="file with the token of the service at --url")
    where.add_argument("--ca-file", metavar="FILE", type=Path, help="PEM: whose certificate an https:// --url may have")


def service(arguments: argparse.Namespace, start: bool = True) -> Workbench:
    """Connects to the service that the flags name, or else the environment, or else to the user's shared service."""
    from workbench.api import connect, current
    from workbench.client.user_agent import speak_as

    speak_as("command line")

    def given(name: str, variable: str) -> str | None:
        value = getattr(arguments, name)
        return str(value) if value is not None else os.environ.get(f"{ENVIRONMENT_PREFIX}{variable}") or None

    ready_file, url, token_file = arguments.ready_file, arguments.url, given("token_file", "TOKEN_FILE")
    ca_file = given("ca_file", "CA_FILE")
    if ready_file is None and url is None:
        ready_file, url = given("ready_file", "READY_FILE"), given("url", "URL")
    if ready_file is not None and url is not None:
        raise InvalidInput("say which service: --ready-file FILE, or --url URL with --token-file FILE")
    if ready_file is None and url is None:
        return current(start)
    own = ready_file is not None
    if ready_file is not None:
        from workbench.client.ready_file import read_ready_file

        ready = read_ready_file(Path(ready_file), Path(token_file) if token_file else None)
        url, token_file = ready.url, str(ready.token_file) if ready.token_file else None
        ca_file = ca_file or ready.ca_file or None
    assert url is not None
    return connect(url, token_file=token_file, ca_file=ca_file, own=own)


def add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def add_nothing(parser: argparse.ArgumentParser) -> None:
    pass


def say(answer: object) -> int:
    print_answer(answer)
    return 0


def print_answer(answer: object) -> None:
    """Prints `answer`. If the reader of a pipe has left, as `| head` does, this and what follows is thrown away."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
