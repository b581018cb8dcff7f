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
    add("--grpc-port", metavar="PORT", type=int, help="0 picks a free one (8081, or a free one)")
    add("--grpc-tls-cert", metavar="FILE", type=Path, help="PEM: serve gRPC with TLS, with this certificate")
    add("--grpc-tls-key", metavar="FILE", type=Path, help="PEM: the certificate's private key")
    add("--grpc-tls-client-ca", metavar="FILE", type=Path, help="PEM: who must have signed a client's certificate")
    add("--data-dir", metavar="DIR", type=Path, help="for uploaded models, log and token (./infer-workbench-data)")
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--token-file", metavar="FILE", type=Path, help="holds the token that callers must send")
    access.add_argument("--no-auth", action="store_false", dest="auth", default=None, help="on loopback only")
    add("--allow-shared-memory", action="store_true", default=None, help="for clients' tensors; on loopback only")
    add("--ready-file", metavar="FILE", type=Path, help="JSON with url, grpc and token_file, written once all is ready")
    add("--log-format", choices=("text", "json"), help="of the lines on stderr and in the log file (text)")
    # For whoever starts the service as a child: however the parent ends, the kernel closes the pipe to it.
    add("--until-eof", action="store_true", help=argparse.SUPPRESS)
    # For clients that start the user's shared service, and for its keeper when it starts a worker.
    add("--shared", action="store_true", help=argparse.SUPPRESS)
    add("--worker", help=argparse.SUPPRESS)


_SERVE_FIELDS = (
    "model_repositories",
    "load",
    "host",
    "http_port",
    "grpc_port",
    "grpc_tls_cert",
    "grpc_tls_key",
    "grpc_tls_client_ca",
    "data_dir",
    "token_file",
    "auth",
    "ready_file",
    "log_format",
    "allow_shared_memory",
)


def _serve(arguments: argparse.Namespace) -> int:
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
    config = server_config(flags, os.environ)
    if arguments.worker is None and sys.platform != "win32":
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

    command = worker_command(arguments.given)
    if not arguments.shared:
        return keep(config, command, until_eof=arguments.until_eof)
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
    from workbench.loadtest.options import COMPARE, ENDPOINT, OPTIONS, SWEEP, VERSION
    from workbench.loadtest.plan import PLAN_OPTIONS
    from workbench.loadtest.schema import FLAG

    add = parser.add_argument
    how = parser.add_argument_group("how requests come (with --slo alone the highest rate that holds is searched)")
    for option in (*OPTIONS.values(), SWEEP, ENDPOINT, COMPARE):
        group = parser if option in (*PLAN_OPTIONS, ENDPOINT, COMPARE) else how
        text = option.help_with_default.replace("%", "%%")
        if option.type is FLAG:
            group.add_argument(option.flag, action="store_true", default=None, help=text)
        else:
            group.add_argument(option.flag, metavar="FILE" if option.is_data else option.placeholder, help=text)
    add("--model-version", metavar="V", help=VERSION.help)
    add("--inputs", metavar="FILE", help="rows to sample, as JSON, .npy or .npz; without, inputs are made up")
    add("--json", metavar="FILE", help="write the run there; - is standard output")
    add("--html", metavar="FILE", help="write the report there as a page")
    add("--quiet", action="store_true", help="without progress on stderr")


def _bench(arguments: argparse.Namespace) -> int:
    from workbench.loadtest.command import bench

    def show(progress: str) -> None:
        print(f"\r\x1b[K{progress}", end="", file=sys.stderr, flush=True)

    live = sys.stderr.isatty() and not arguments.quiet
    return bench(
        arguments, lambda *given, **options: _service(arguments).bench(*given, **options), print, show if live else None
    )


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
