"""`status`, `logs` and the other verbs of the service itself."""

from __future__ import annotations

import argparse

from workbench.cli.chosen_service import Verb, add_nothing, say, service
from workbench.errors import InvalidInput


def _status(arguments: argparse.Namespace) -> int:
    return say(service(arguments, start=False).status())


def _restart(arguments: argparse.Namespace) -> int:
    return say(service(arguments, start=False).restart())


def _stop(arguments: argparse.Namespace) -> int:
    workbench = service(arguments, start=False)
    if not workbench.shared:
        raise InvalidInput("only your shared service is stopped from here; end the other one where it runs")
    workbench.stop()
    return say("the service is stopped; the next call starts it again, with the same models")


def _add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rotate", action="store_true", help="replace it; no other token is valid from then on")
    parser.add_argument("--show", action="store_true", help="print the token, too")


def _token(arguments: argparse.Namespace) -> int:
    workbench = service(arguments, start=False)
    if arguments.rotate:
        replaced = workbench.rotate_token()
        return say(workbench.token(show=True) if arguments.show else replaced)
    return say(workbench.token(show=arguments.show))


def _add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--last", default="7d", metavar="TIME", help="how far back: 7d, 12h, 30min (7d)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _audit(arguments: argparse.Namespace) -> int:
    table = service(arguments).audit(arguments.last)
    if not arguments.json:
        return say(table)
    return say(table.json_lines) if table else 0


def _add_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=int, default=20, metavar="N", help="number of lines (20)")


def _logs(arguments: argparse.Namespace) -> int:
    return say(service(arguments, start=False).logs(arguments.lines))


SERVICE_VERBS: dict[str, Verb] = {
    "status": ("describe the service: state and reason, address, resources", add_nothing, _status),
    "restart": ("restart your shared service, in this version", add_nothing, _restart),
    "stop": ("stop your shared service; the next call starts it again", add_nothing, _stop),
    "token": ("say where the service's token is, or replace it", _add_token, _token),
    "audit": ("list who changed the service, and from where", _add_audit, _audit),
    "logs": ("print the service's last log lines", _add_logs, _logs),
}
