"""Parses the command line and runs one verb.

Wrong use and every WorkbenchError print one line on stderr and exit with status 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from workbench.cli.chosen_service import Verb, add_service
from workbench.cli.load_test_verbs import LOAD_TEST_VERBS
from workbench.cli.model_verbs import MODEL_VERBS
from workbench.cli.serve_verb import add_serve
from workbench.cli.service_verbs import SERVICE_VERBS
from workbench.cli.share_verbs import SHARE_VERBS
from workbench.cli.version_verbs import VERSION_VERBS
from workbench.errors import WorkbenchError

PROGRAM = "jupyter-infer"

MISUSE = 2

_CLIENT_VERBS: dict[str, Verb] = {**MODEL_VERBS, **VERSION_VERBS, **SERVICE_VERBS, **SHARE_VERBS, **LOAD_TEST_VERBS}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit status of the process."""
    given = _with_negative_values(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    arguments.given = given[1:]
    try:
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except WorkbenchError as error:
        print(f"{PROGRAM} {arguments.verb}: {error.message}", file=sys.stderr)
        return MISUSE
    except KeyboardInterrupt:
        return 130


def _with_negative_values(given: Sequence[str]) -> list[str]:
    """Join a value such as -1d to its option, which argparse would take for an option of its own."""
    joined: list[str] = []
    for each in given:
        if each[:1] == "-" and each[1:2].isdigit() and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={each}"
        else:
            joined.append(each)
    return joined


class _Parser(argparse.ArgumentParser):
    """Reports wrong use in one line; argparse would print the usage as well."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help shows what there is)", file=sys.stderr)
        sys.exit(MISUSE)


class _Version(argparse.Action):
    """Looks the version up only on request, because the supervisor runs this module too and must stay small."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"{PROGRAM} {version('infer-workbench')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of every verb, which sets `run`."""
    top = _Parser(prog=PROGRAM, description="Serve models in the background, and load, call, watch and load-test them.")
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    add_serve(
        verbs.add_parser(
            "serve",
            help="serve models until SIGTERM or Ctrl-C",
            description="Serve models over HTTP and gRPC until SIGTERM or Ctrl-C, separate from your shared service.",
            allow_abbrev=False,
        )
    )
    for name, (help_text, add, run) in _CLIENT_VERBS.items():
        verb = verbs.add_parser(name, help=help_text, allow_abbrev=False)
        verb.set_defaults(run=run)
        add(verb)
        add_service(verb)
    return top
