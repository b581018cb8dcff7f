"""`jupyter-infer VERB ...`, also `jupyter infer` and `python -m workbench`: each verb a thin shell over a room.

Wrong use, and every error of the tree, is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from workbench.config import ENVIRONMENT_PREFIX
from workbench.errors import InvalidInput, WorkbenchError

if TYPE_CHECKING:
    from workbench.api import Workbench
    from workbench.config import ServerConfig

PROGRAM = "jupyter-infer"

MISUSE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the process's exit status."""
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(given)
    arguments.given = given[1:]
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


class _Version(argparse.Action):
    """Looked up only when it is asked for: the keeper, which comes through here too, is to stay small."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"{PROGRAM} {version('infer-workbench')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM, description="From a notebook cell to a served model: batched, measured, and called by anyone."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="the version of this installation")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    _add_serve(
        verbs.add_parser(
            "serve",
            help="serve models until SIGTERM",
            description="Serve models over HTTP and gRPC until SIGTERM or Ctrl-C, apart from your shared service.",
            allow_abbrev=False,
        )
    )
    for name, (help_text, add, run) in _CLIENT_VERBS.items():
        verb = verbs.add_parser(name, help=help_text, allow_abbrev=False)
        verb.set_defaults(run=run)
        add(verb)
        _add_service(verb)
    return parser


# serve


def _add_serve(parser: argparse.ArgumentParser) -> None:
    from workbench.server.settings import add_flags

    parser.set_defaults(run=_serve)
    add_flags(parser)
    # For clients that start the user's shared service, and for its keeper when it starts a worker.
    parser.add_argument("--shared", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", help=argparse.SUPPRESS)


def _serve(arguments: argparse.Namespace) -> int:
    from workbench.rendezvous.compatibility import check_platform
    from workbench.server.settings import given_flags, server_config

    check_platform()
    config = server_config(given_flags(arguments), os.environ)
    if arguments.worker is None:
        return _keep(config, arguments)
    from workbench.server.process.worker_channel import SupervisorChannel, decode_place
    from workbench.server.worker_main import serve

    status = serve(config, SupervisorChannel(decode_place(arguments.worker)) if arguments.worker else None)
    if any(thread.name.startswith("infer-") for thread in threading.enumerate()):
        # Inside a run, or a load, that does not end: a runtime that is taken down under it aborts the process.
        sys.stderr.flush()
        os._exit(status)
    return status


def _keep(config: ServerConfig, arguments: argparse.Namespace) -> int:
    """The keeper. Nothing heavy may be imported here: it is to stay small."""
    from workbench.server.process.signals import detach
    from workbench.server.process.supervisor import keep
    from workbench.server.process.worker import worker_command

    # What the keeper found for itself, the worker is told: the working folder may be gone when the next one starts.
    command = worker_command([*arguments.given, "--data-dir", str(config.data_dir.absolute())])
    if not arguments.shared:
        return keep(config, command)
    from workbench.rendezvous.folder import rendezvous

    room = rendezvous().open()
    return detach(room.start_log, lambda published: keep(config, command, room, published=published))


# The verbs of a client: the same words as `%infer` and the methods of `workbench.Workbench`.


def _add_service(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("which service (one of --ready-file and --url; else your shared one)")
    where.add_argument("--ready-file", metavar="FILE", type=Path, help="what `serve --ready-file` wrote")
    where.add_argument("--url", help="http://HOST:PORT")
    where.add_argument("--token-file", metavar="FILE", type=Path, help="holds the token of the service at --url")


def _service(arguments: argparse.Namespace, start: bool = True) -> Workbench:
    """The workbench at the service that the flags name, else the environment, else at the user's shared service."""
    from workbench.api import connect, current

    def given(name: str, variable: str) -> str | None:
        value = getattr(arguments, name)
        return str(value) if value is not None else os.environ.get(f"{ENVIRONMENT_PREFIX}{variable}") or None

    ready_file, url, token_file = arguments.ready_file, arguments.url, given("token_file", "TOKEN_FILE")
    if ready_file is None and url is None:
        ready_file, url = given("ready_file", "READY_FILE"), given("url", "URL")
    if ready_file is not None and url is not None:
        raise InvalidInput("say which service: --ready-file FILE, or --url URL with --token-file FILE")
    if ready_file is None and url is None:
        return current(start)
    if ready_file is not None:
        url, token_file = _published(_read(Path(ready_file), "the ready file"))
    assert url is not None
    token = _read(Path(token_file), "the token file").strip() if token_file else None
    return connect(url, token)


def _published(text: str) -> tuple[str, str | None]:
    """The url and the token file that a ready file names."""
    try:
        published = json.loads(text)
        url, token_file = published["url"], published.get("token_file")
    except (ValueError, RecursionError, TypeError, LookupError, AttributeError):
        url = token_file = None
    if not isinstance(url, str) or not isinstance(token_file, str | None):
        raise InvalidInput("the ready file names no service; give the file that `serve --ready-file` wrote")
    return url, token_file


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput(f"{what} cannot be read: {reason}; is the service running?") from None


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def _add_nothing(parser: argparse.ArgumentParser) -> None:
    pass


def _add_load(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("source", metavar="PATH", type=Path, help="an ONNX file, or a model's folder")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--max-batch", type=int, metavar="ROWS")
    parser.add_argument("--delay", help='how long a batch may wait to grow, as "5ms"')
    parser.add_argument("--instances", type=int, metavar="N")
    parser.add_argument("--force", action="store_true", help="even where inputs or outputs change")


def _load(arguments: argparse.Namespace) -> int:
    options = {name: getattr(arguments, name) for name in ("device", "max_batch", "delay", "instances")}
    return _say(_service(arguments).load(arguments.name, arguments.source, force=arguments.force, **options))


def _unload(arguments: argparse.Namespace) -> int:
    _service(arguments).unload(arguments.name)
    return _say(f"{arguments.name} is unloaded")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("rows", metavar="FILE", help="rows as JSON or .npy; - reads JSON from standard input")


def _predict(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).predict(arguments.name, _rows(arguments.rows)))


def _rows(source: str) -> object:
    """The rows in a file: an array, or parsed JSON (lists, or an object of them by input name)."""
    import numpy as np

    try:
        if source.endswith(".npy"):
            return np.load(source, allow_pickle=False)
        return json.loads(sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{source!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidInput(f"{source!r} holds no rows: JSON, or an array that numpy.save wrote") from None


def _models(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).models())


def _show(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).show(arguments.name))


def _add_set(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="+", help="as max_batch=32")


def _set(arguments: argparse.Namespace) -> int:
    pairs = [each.partition("=") for each in arguments.settings]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise InvalidInput(f"{wrong[0]!r} is not KEY=VALUE")
    return _say(_service(arguments).set(arguments.name, **{key: value for key, _, value in pairs}))


def _status(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments, start=False).status())


def _restart(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments, start=False).restart())


def _stop(arguments: argparse.Namespace) -> int:
    workbench = _service(arguments, start=False)
    if not workbench.shared:
        raise InvalidInput("only your shared service is stopped from here; end the other one where it runs")
    workbench.stop()
    return _say("the service is stopped; the next call starts it again, with the same models")


def _add_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=int, default=20, metavar="N")


def _logs(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments, start=False).logs(arguments.lines))


# Load tests


def _add_bench(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    add = parser.add_argument
    how = parser.add_argument_group("how requests come (with --slo alone the highest rate that holds is searched)")
    how.add_argument("--rate", metavar="N", help="so many a second, whether or not earlier ones were answered")
    how.add_argument("--users", metavar="N", help="who each wait for their answer before they ask again")
    how.add_argument("--think", metavar="TIME", help="how long a user waits after an answer")
    how.add_argument("--ramp", metavar="FROM:TO", help="a rate that grows evenly, as 10:1000")
    how.add_argument("--step", metavar="N", help="stairs, each N a second higher, until something breaks")
    how.add_argument("--every", metavar="TIME", help="the length of a stair")
    how.add_argument("--replay", metavar="FILE", help="recorded arrival times: seconds, as a JSON list or one a line")
    how.add_argument("--poisson", action="store_true", default=None, help="at random times instead of evenly")
    how.add_argument("--sweep", metavar="GRID", help='the same load with each setting, as "batch=1:8:32,delay=0:2ms"')
    add("--slo", metavar="BOUNDS", help='what must hold, as "p99<20ms,errors<0.1%%,rate>500"; else the status is 1')
    add("--duration", metavar="TIME", help="of what is measured, as 10s")
    add("--warm-up", metavar="TIME", help="before it, kept out of all figures")
    add("--inputs", metavar="FILE", help="rows to sample, as JSON, .npy or .npz; without, inputs are made up")
    add("--requests", metavar="FILE", help="a JSON list, each item the inputs of one request, sent in turn")
    add("--rows", metavar="N", type=int, help="rows a request")
    add("--model-version", metavar="V", help="a version of the model, not the one that serves")
    add("--connections", metavar="N", type=int, help="the most that are opened")
    add("--timeout", metavar="TIME", help="after which a request is given up")
    add("--seed", metavar="N", type=int, help="of what is random")
    add("--endpoint", metavar="URL", help="any server of the Open Inference Protocol: http://... or grpc://...")
    add("--compare", metavar="RUN", help="an earlier run to compare with, as `history` names it, or last")
    add("--json", metavar="FILE", help="write the run there; - is standard output")
    add("--html", metavar="FILE", help="write the report there as a page")
    add("--quiet", action="store_true", help="without progress on stderr")


def _bench(arguments: argparse.Namespace) -> int:
    from workbench.loadtest.command import bench

    def show(progress: str) -> None:
        print(f"\r\x1b[K{progress}", end="", file=sys.stderr, flush=True)

    live = sys.stderr.isatty() and not arguments.quiet
    return bench(arguments, lambda: _service(arguments), print, show if live else None)


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="of one model only")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="the latest N (20)")


def _history(arguments: argparse.Namespace) -> int:
    from workbench.loadtest.command import listed

    return _say(listed(arguments.name, arguments.limit))


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="RUN", help="as `history` names it, or a model for its latest")
    parser.add_argument("after", metavar="RUN", help="the same, or last")


def _compare(arguments: argparse.Namespace) -> int:
    from workbench.loadtest.command import compared

    return _say(compared(arguments.before, arguments.after))


def _say(answer: object) -> int:
    print(answer)
    return 0


_CLIENT_VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]] = {
    "load": ("serve a model, or its next version", _add_load, _load),
    "unload": ("finish what is under way, then drop every version", _add_name, _unload),
    "predict": ("ask a model", _add_predict, _predict),
    "models": ("every version of every model", _add_nothing, _models),
    "show": ("all that is known of one model", _add_name, _show),
    "set": ("change a model's settings", _add_set, _set),
    "status": ("the service: its state and why, where it is, what it uses", _add_nothing, _status),
    "restart": ("start your shared service anew, in this version", _add_nothing, _restart),
    "stop": ("end your shared service, until the next call", _add_nothing, _stop),
    "logs": ("the service's last log lines", _add_logs, _logs),
    "bench": ("load-test a model; 1 where what must hold does not", _add_bench, _bench),
    "history": ("the load tests that are kept", _add_history, _history),
    "compare": ("two load tests beside each other", _add_compare, _compare),
}
