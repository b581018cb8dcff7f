"""`jupyter-infer VERB ...`, also `jupyter infer` and `python -m workbench`: each verb a thin shell over a room.

Wrong use, and every error of the tree, is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from workbench.errors import WorkbenchError

PROGRAM = "jupyter-infer"

MISUSE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the process's exit status."""
    arguments = _parser().parse_args(argv)
    try:
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except WorkbenchError as error:
        print(f"{PROGRAM} {arguments.verb}: {error.message}", file=sys.stderr)
        return MISUSE
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """One line for wrong use, where argparse would print the usage too."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help shows what there is)", file=sys.stderr)
        sys.exit(MISUSE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM, description="From a notebook cell to a served model: batched, measured, and called by anyone."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    _add_serve(verbs.add_parser("serve", help="serve models until SIGTERM", allow_abbrev=False))
    return parser


# serve


def _add_serve(parser: argparse.ArgumentParser) -> None:
    # No defaults here: what is not given comes from the environment, and then from ServerConfig.
    parser.set_defaults(run=_serve)
    add = parser.add_argument
    add(
        "--model-repository",
        metavar="DIR",
        type=Path,
        action="append",
        dest="model_repositories",
        help="a folder laid out NAME/VERSION/model.onnx; all its models load at the start; may be repeated",
    )
    add("--load", metavar="NAME=PATH", action="append", help="load a model file at the start; may be repeated")
    add("--host", help="where to listen (127.0.0.1)")
    add("--http-port", metavar="PORT", type=int, help="0 picks a free one (8080)")
    add("--grpc-port", metavar="PORT", type=int, help="accepted, but gRPC is not served by this version")
    add("--data-dir", metavar="DIR", type=Path, help="for uploaded models, log and token (./infer-workbench-data)")
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--token-file", metavar="FILE", type=Path, help="holds the token that callers must send")
    access.add_argument("--no-auth", action="store_false", dest="auth", default=None, help="on loopback only")
    add("--ready-file", metavar="FILE", type=Path, help="JSON with url and token_file, written once all is ready")
    add("--log-format", choices=("text", "json"), help="of the lines on stderr and in the log file (text)")
    # For whoever starts the service as a child: however the parent ends, the kernel closes the pipe to it.
    add("--until-eof", action="store_true", help=argparse.SUPPRESS)


_SERVE_FIELDS = (
    "model_repositories",
    "load",
    "host",
    "http_port",
    "data_dir",
    "token_file",
    "auth",
    "ready_file",
    "log_format",
)


def _serve(arguments: argparse.Namespace) -> int:
    from workbench.server.serve import serve
    from workbench.server.settings import named_path, server_config

    flags = {name: getattr(arguments, name) for name in _SERVE_FIELDS if getattr(arguments, name) is not None}
    if "model_repositories" in flags:
        flags["model_repositories"] = tuple(flags["model_repositories"])
    if "load" in flags:
        flags["load"] = tuple(named_path(each) for each in flags["load"])
    # A flag also undoes what the environment says to the contrary.
    if "auth" in flags:
        flags["token_file"] = None
    elif "token_file" in flags:
        flags["auth"] = True
    if arguments.until_eof:
        _terminate_at_eof()
    notes = []
    if arguments.grpc_port is not None:
        notes.append("gRPC is not served by this version; --grpc-port is not in use")
    return serve(server_config(flags, os.environ), notes)


def _terminate_at_eof() -> None:
    """SIGTERM to this process once its standard input ends."""

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock a daemon thread must not hold at the interpreter's end
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="until-eof", daemon=True).start()
