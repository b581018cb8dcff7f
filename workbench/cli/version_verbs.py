"""`route`, `rollout` and the other verbs of versions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from workbench.cli.chosen_service import Verb, add_name, say, service
from workbench.errors import InvalidInput


def _versions(arguments: argparse.Namespace) -> int:
    return say(service(arguments).versions(arguments.name))


def _add_label(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("labels", metavar="LABEL=VERSION", nargs="+", help="canary=2; canary=none takes it away")


def _label(arguments: argparse.Namespace) -> int:
    pairs = [each.partition("=") for each in arguments.labels]
    if wrong := [key for key, _, version in pairs if not version]:
        raise InvalidInput(f"{wrong[0]!r} is not LABEL=VERSION")
    asked = {label: None if version == "none" else version for label, _, version in pairs}
    return say(service(arguments).label(arguments.name, asked))


def _add_route(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("weights", metavar="VERSION=WEIGHT", nargs="*", help="v2=10%%; v2 alone gets all, v2=0 none")
    parser.add_argument("--by", default="", metavar="PARAMETER", help="whose values stay on one side")
    parser.add_argument("--shadow", metavar="VERSION=PART", help="it gets copies, as v2=25%%; none: no version does")
    parser.add_argument("--keep-rows", type=int, default=0, metavar="N", help="of those that differ most, in memory")
    parser.add_argument("--for", dest="share", default="", metavar="SHARE", help="its calls alone, by label or id")
    parser.add_argument("--wait", action="store_true", help="for a load of the model that is under way")
    parser.add_argument("--force", action="store_true", help="route to it even if inputs or outputs change")


def _route(arguments: argparse.Namespace) -> int:
    weights = _parts(arguments.weights) if arguments.weights else None
    options = {name: getattr(arguments, name) for name in ("by", "keep_rows", "share", "wait", "force")}
    if (shadow := arguments.shadow) is not None:
        options["shadow"] = _parts([shadow] if shadow != "none" else [])
    return say(service(arguments).route(arguments.name, weights, **options))


def _parts(words: Sequence[str]) -> dict[str, str]:
    """Version -> part, of v2=10%; one alone has all of it."""
    return {version: part if equals else "100%" for version, equals, part in (each.partition("=") for each in words)}


def _shadow(arguments: argparse.Namespace) -> int:
    return say(service(arguments).shadow(arguments.name))


def _rollback(arguments: argparse.Namespace) -> int:
    return say(service(arguments).rollback(arguments.name))


def _add_rollout(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("version", metavar="VERSION", nargs="?", help="without it: how the last rollout stands")
    parser.add_argument("--steps", default="1,10,50,100", metavar="PERCENTS", help="parts of the calls (1,10,50,100)")
    parser.add_argument("--every", default="5m", metavar="TIME", help="how long a step takes (5m)")
    parser.add_argument("--guard", default="errors<1.5x,p99<1.1x", metavar="CLAUSES", help="what must hold")
    parser.add_argument("--on-breach", default="rollback", choices=["rollback", "halt"], help="or halt: keep the part")
    parser.add_argument("--least-calls", type=int, default=200, metavar="N", help="that each step needs (200)")
    parser.add_argument("--by", default="", metavar="PARAMETER", help="whose values stay on one side")
    parser.add_argument("--stop", action="store_true", help="end it; its version gets no calls but by name")
    parser.add_argument("--resume", action="store_true", help="begin the step again in which it was halted")


def _rollout(arguments: argparse.Namespace) -> int:
    names = ("steps", "every", "guard", "on_breach", "least_calls", "by", "stop", "resume")
    options = {name: getattr(arguments, name) for name in names}
    return say(service(arguments).rollout(arguments.name, arguments.version, **options))


VERSION_VERBS: dict[str, Verb] = {
    "versions": ("list a model's versions, which one serves, and which served when", add_name, _versions),
    "label": ("have labels point to versions", _add_label, _label),
    "shadow": ("how the answers of a model's shadow differ from those of the version that serves", add_name, _shadow),
    "route": ("split a model's calls over its versions, or have one serve", _add_route, _route),
    "rollback": ("have the version serve again that served before", add_name, _rollback),
    "rollout": ("give a version more and more of the calls, as long as its guard holds", _add_rollout, _rollout),
}
