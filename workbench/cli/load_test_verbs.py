"""`bench`, and what was measured before."""

from __future__ import annotations

import argparse
import sys

from workbench.cli.chosen_service import Verb, add_name, print_answer, say, service


def _add_bench(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    from workbench.loadtest.option_schema import FLAG
    from workbench.loadtest.options import COMPARE, ENDPOINT, OPTIONS, SWEEP, VERSION
    from workbench.loadtest.plan import PLAN_OPTIONS

    add = parser.add_argument
    how = parser.add_argument_group("how requests arrive (with --slo alone: search the highest rate that meets it)")
    for option in (*OPTIONS.values(), SWEEP, ENDPOINT, COMPARE):
        group = parser if option in (*PLAN_OPTIONS, ENDPOINT, COMPARE) else how
        text = option.help_with_default.replace("%", "%%")
        if option.type is FLAG:
            group.add_argument(option.flag, action="store_true", default=None, help=text)
        else:
            group.add_argument(option.flag, metavar="FILE" if option.is_data else option.placeholder, help=text)
    add("--model-version", metavar="V", help=VERSION.help)
    add("--inputs", metavar="FILE", help="rows to sample, as JSON, .npy or .npz; random inputs by default")
    add("--json", metavar="FILE", help="write the run to FILE; - is standard output")
    add("--html", metavar="FILE", help="write the report to FILE as an HTML page")
    add("--quiet", action="store_true", help="print no progress on stderr")


def _bench(arguments: argparse.Namespace) -> int:
    from workbench.loadtest.command import bench

    def show(progress: str) -> None:
        print(f"\r\x1b[K{progress}", end="", file=sys.stderr, flush=True)

    live = sys.stderr.isatty() and not arguments.quiet
    return bench(
        arguments,
        lambda *given, **options: service(arguments).bench(*given, **options),
        print_answer,
        show if live else None,
    )


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="list the runs of this model only")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="list the latest N (20)")


def _history(arguments: argparse.Namespace) -> int:
    from workbench.loadtest.command import listed

    return say(listed(arguments.name, arguments.limit))


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "before", metavar="RUN", help="first run: its id in `history`, or a model for its latest; or a version: NAME:1"
    )
    parser.add_argument("after", metavar="RUN", help="second run: the same, or last; or another version: NAME:2")
    parser.add_argument(
        "--for", dest="seconds", metavar="TIME", help="how long the calls of versions are watched (60s)"
    )


def _compare(arguments: argparse.Namespace) -> int:
    if ":" in arguments.before + arguments.after:
        return say(service(arguments).compare(arguments.before, arguments.after, seconds=arguments.seconds))
    from workbench.loadtest.command import compared

    return say(compared(arguments.before, arguments.after))


LOAD_TEST_VERBS: dict[str, Verb] = {
    "bench": ("load-test a model; the status is 1 if --slo is not met", _add_bench, _bench),
    "history": ("list the stored load tests", _add_history, _history),
    "compare": ("compare two load tests", _add_compare, _compare),
}
