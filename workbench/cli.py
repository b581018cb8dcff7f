"""The command line: `jupyter-infer VERB ...`, also `jupyter infer` and `python -m workbench`.

Wrong use and every WorkbenchError print one line on stderr and exit with status 2.
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
    """Runs one verb and returns the exit status of the process."""
    given = _with_negative_values(sys.argv[1:] if argv is None else argv)
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM, description="Serve models in the background, and load, call, watch and load-test them."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    _add_serve(
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
        return _supervise(config, arguments)
    from workbench.server.process.worker_channel import SupervisorChannel, decode_setup
    from workbench.server.worker_main import serve

    status = serve(config, SupervisorChannel(decode_setup(arguments.worker)) if arguments.worker else None)
    if any(thread.name.startswith("infer-") for thread in threading.enumerate()):
        # A run or a load has not ended. Tearing down the runtime under it would abort the process, so exit at once.
        sys.stderr.flush()
        os._exit(status)
    return status


def _supervise(config: ServerConfig, arguments: argparse.Namespace) -> int:
    """Runs the supervisor of a worker. Nothing heavy may be imported here: the supervisor must stay small."""
    from workbench.server.process.signals import detach
    from workbench.server.process.supervisor import supervise
    from workbench.server.process.worker import worker_command

    # What the keeper found for itself, the worker is told: the working folder may be gone when the next one starts.
    command = worker_command([*arguments.given, "--data-dir", str(config.data_dir.absolute())])
    if not arguments.shared:
        return supervise(config, command)
    from workbench.rendezvous.folder import rendezvous

    room = rendezvous().open()
    return detach(room.start_log, lambda published: supervise(config, command, room, published=published))


# The client verbs have the same names as the `%infer` verbs and the methods of `workbench.Workbench`.


def _add_service(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("choose the service (by --ready-file or --url; your shared one by default)")
    where.add_argument("--ready-file", metavar="FILE", type=Path, help="file that `serve --ready-file` wrote")
    where.add_argument("--url", help="address of the service: http://HOST:PORT, or https:// with TLS")
    where.add_argument("--token-file", metavar="FILE", type=Path, help="file with the token of the service at --url")
    where.add_argument("--ca-file", metavar="FILE", type=Path, help="PEM: whose certificate an https:// --url may have")


def _service(arguments: argparse.Namespace, start: bool = True) -> Workbench:
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


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")


def _add_nothing(parser: argparse.ArgumentParser) -> None:
    pass


def _add_load(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("source", metavar="PATH", type=Path, help="ONNX file, or folder of a model")
    parser.add_argument("--device", help="device: auto, cpu, cuda or cuda:N")
    parser.add_argument("--max-batch", type=int, metavar="ROWS", help="most rows in one batch")
    parser.add_argument("--delay", help='how long a batch may wait for more rows, like "5ms"')
    parser.add_argument("--instances", type=int, metavar="N", help="runners; 1 lets the service choose (1)")
    parser.add_argument("--signature", default="", metavar="NAME", help="one of a SavedModel's (serving_default)")
    parser.add_argument("--allow-code", action="store_true", help="it may be a Python function, whose code then runs")
    parser.add_argument(
        "--no-route", action="store_true", help="beside the version that serves, for calls that name it"
    )
    parser.add_argument("--force", action="store_true", help="load even if inputs or outputs change")


def _load(arguments: argparse.Namespace) -> int:
    names = ("device", "max_batch", "delay", "instances", "allow_code", "signature")
    options = {name: getattr(arguments, name) for name in names}
    options |= {"force": arguments.force, "route": not arguments.no_route}
    return _say(_service(arguments).load(arguments.name, arguments.source, **options))


def _add_pipeline(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("stages", metavar="STAGE", nargs="+", help="models, one after another")
    parser.add_argument("--map", default="", metavar="b.x=a.y", help="inputs that names do not tell, with commas")
    parser.add_argument("--force", action="store_true", help="load even if inputs or outputs change")


def _pipeline(arguments: argparse.Namespace) -> int:
    from workbench.client.pipeline_wiring import pairs_of

    mapping = dict(pairs_of(arguments.map))
    stages = " ".join(arguments.stages)
    return _say(_service(arguments).pipeline(arguments.name, stages, mapping, force=arguments.force))


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("file", metavar="FILE", type=Path, help="file to write, or a folder for NAME.onnx")
    parser.add_argument("--model-version", metavar="V", help="version; the one that serves by default")
    parser.add_argument("--force", action="store_true", help="replace data beside it")


def _export(arguments: argparse.Namespace) -> int:
    version, force = arguments.model_version, arguments.force
    return _say(_service(arguments).export(arguments.name, arguments.file, version=version, force=force))


def _unload(arguments: argparse.Namespace) -> int:
    _service(arguments).unload(arguments.name)
    return _say(f"{arguments.name} is unloaded")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("rows", metavar="FILE", help="file with rows, JSON or .npy; - reads JSON from standard input")


def _predict(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).predict(arguments.name, _rows(arguments.rows)))


def _rows(source: str) -> object:
    """Reads the rows in a file: an array, or parsed JSON (lists, or an object of them by input name)."""
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
    from workbench.client.shared_service import shared_service

    workbench = _service(arguments, start=False)
    if workbench.shared and shared_service().record() is None:
        why, _ = shared_service().ended()
        return _say(f"the service does not run: {why}; the next call that needs it starts it, with the same models")
    return _say(workbench.models())


def _show(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).show(arguments.name))


def _add_set(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="+", help="settings, like max_batch=32")


def _set(arguments: argparse.Namespace) -> int:
    pairs = [each.partition("=") for each in arguments.settings]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise InvalidInput(f"{wrong[0]!r} is not KEY=VALUE")
    return _say(_service(arguments).set(arguments.name, **{key: value for key, _, value in pairs}))


def _versions(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).versions(arguments.name))


def _add_label(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    parser.add_argument("labels", metavar="LABEL=VERSION", nargs="+", help="canary=2; canary=none takes it away")


def _label(arguments: argparse.Namespace) -> int:
    pairs = [each.partition("=") for each in arguments.labels]
    if wrong := [key for key, _, version in pairs if not version]:
        raise InvalidInput(f"{wrong[0]!r} is not LABEL=VERSION")
    asked = {label: None if version == "none" else version for label, _, version in pairs}
    return _say(_service(arguments).label(arguments.name, asked))


def _add_route(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
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
    return _say(_service(arguments).route(arguments.name, weights, **options))


def _parts(words: Sequence[str]) -> dict[str, str]:
    """Version -> part, of v2=10%; one alone has all of it."""
    return {version: part if equals else "100%" for version, equals, part in (each.partition("=") for each in words)}


def _shadow(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).shadow(arguments.name))


def _rollback(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).rollback(arguments.name))


def _add_rollout(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
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
    return _say(_service(arguments).rollout(arguments.name, arguments.version, **options))


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


def _add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rotate", action="store_true", help="replace it; no other token is valid from then on")
    parser.add_argument("--show", action="store_true", help="print the token, too")


def _token(arguments: argparse.Namespace) -> int:
    workbench = _service(arguments, start=False)
    if arguments.rotate:
        replaced = workbench.rotate_token()
        return _say(workbench.token(show=True) if arguments.show else replaced)
    return _say(workbench.token(show=arguments.show))


def _add_share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="the models that it may call")
    parser.add_argument("--with", dest="label", metavar="LABEL", required=True, help="whom it is for")
    parser.add_argument("--rate", help="the most requests it may send: 20/s, 600/min (no limit)")
    parser.add_argument("--row-rate", metavar="RATE", help="the most rows in them: 2000/s (no limit)")
    parser.add_argument("--quota", metavar="N", help="the most requests of a UTC day: 10000 (no limit)")
    parser.add_argument("--row-quota", metavar="N", help="the most rows in them (no limit)")
    parser.add_argument("--version", metavar="V", help="the only version that it calls (the one that serves)")
    parser.add_argument("--max-body", metavar="SIZE", help="the largest body: 1MB, 64KiB (the service's cap)")
    parser.add_argument("--metrics", action="store_true", help="it may read the metrics of its models")
    parser.add_argument("--expires", default="7d", metavar="TIME", help="how long it holds: 7d, 12h, 30min (7d)")
    parser.add_argument("--max-in-flight", type=int, metavar="N", help="its requests under way at once (16)")
    parser.add_argument(
        "--as-env", metavar="FILE", help="a new file for INFER_URL and INFER_TOKEN that only you can read"
    )
    parser.add_argument("--show-token", action="store_true", help="print the token in place of a link")
    parser.add_argument("--host", help="open a port for shares there first, such as 0.0.0.0")
    parser.add_argument("--port", type=int, help="of --host, for HTTP (a free one)")
    parser.add_argument("--grpc-port", type=int, help="of --host, for gRPC (a free one)")
    parser.add_argument(
        "--tls", choices=("off", "self-signed"), help="with a certificate that the service makes itself"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="PEM: with TLS there, with this certificate")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM: the certificate's private key")
    parser.add_argument("--insecure", action="store_true", help="without TLS there, where something else encrypts")


def _add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--close", action="store_true", help="close it for good")


def _port(arguments: argparse.Namespace) -> int:
    workbench = _service(arguments)
    if not arguments.close:
        return _say(workbench.port())
    workbench.close_port()
    return _say("the port for shares is closed")


def _share(arguments: argparse.Namespace) -> int:
    from workbench.client.port_for_share import port_for_share

    workbench = _service(arguments)
    with port_for_share(
        workbench,
        arguments.host,
        port=arguments.port,
        grpc_port=arguments.grpc_port,
        tls=arguments.tls,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        insecure=arguments.insecure,
    ) as opened:
        share = workbench.share(
            arguments.names,
            arguments.label,
            arguments.rate,
            arguments.expires,
            row_rate=arguments.row_rate,
            quota=arguments.quota,
            row_quota=arguments.row_quota,
            version=arguments.version,
            max_body=arguments.max_body,
            metrics=arguments.metrics,
            max_in_flight=arguments.max_in_flight,
            show_token=arguments.show_token,
            as_env=arguments.as_env,
        )
    if opened is not None:
        _print(opened)
    _print(share)
    return _say(share.token) if arguments.show_token else 0


def _shares(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments).shares())


def _add_revoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("share", metavar="SHARE", help="its label or id")


def _revoke(arguments: argparse.Namespace) -> int:
    _service(arguments).revoke(arguments.share)
    return _say(f"the share {arguments.share} has ended; its next call is refused")


def _add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--last", default="7d", metavar="TIME", help="how far back: 7d, 12h, 30min (7d)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _audit(arguments: argparse.Namespace) -> int:
    table = _service(arguments).audit(arguments.last)
    if not arguments.json:
        return _say(table)
    return _say(table.json_lines) if table else 0


def _add_logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lines", type=int, default=20, metavar="N", help="number of lines (20)")


def _logs(arguments: argparse.Namespace) -> int:
    return _say(_service(arguments, start=False).logs(arguments.lines))


# Load tests


def _add_bench(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
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
        lambda *given, **options: _service(arguments).bench(*given, **options),
        _print,
        show if live else None,
    )


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="list the runs of this model only")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="list the latest N (20)")


def _history(arguments: argparse.Namespace) -> int:
    from workbench.loadtest.command import listed

    return _say(listed(arguments.name, arguments.limit))


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
        return _say(_service(arguments).compare(arguments.before, arguments.after, seconds=arguments.seconds))
    from workbench.loadtest.command import compared

    return _say(compared(arguments.before, arguments.after))


def _say(answer: object) -> int:
    _print(answer)
    return 0


def _print(answer: object) -> None:
    """Prints `answer`. If whoever reads has left, as `| head` does, this and what follows is thrown away."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_CLIENT_VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]] = {
    "load": ("serve a model, or the next version of one", _add_load, _load),
    "pipeline": ("serve models one after another as one", _add_pipeline, _pipeline),
    "export": ("write a model's file, with the data beside it", _add_export, _export),
    "unload": ("unload every version of a model, after its current requests", _add_name, _unload),
    "predict": ("send rows to a model and print its answer", _add_predict, _predict),
    "models": ("list every version of every model", _add_nothing, _models),
    "show": ("describe one model in full", _add_name, _show),
    "set": ("change a model's settings", _add_set, _set),
    "versions": ("list a model's versions, which one serves, and which served when", _add_name, _versions),
    "label": ("have labels point to versions", _add_label, _label),
    "shadow": ("how the answers of a model's shadow differ from those of the version that serves", _add_name, _shadow),
    "route": ("split a model's calls over its versions, or have one serve", _add_route, _route),
    "rollback": ("have the version serve again that served before", _add_name, _rollback),
    "rollout": ("give a version more and more of the calls, as long as its guard holds", _add_rollout, _rollout),
    "status": ("describe the service: state and reason, address, resources", _add_nothing, _status),
    "restart": ("restart your shared service, in this version", _add_nothing, _restart),
    "stop": ("stop your shared service; the next call starts it again", _add_nothing, _stop),
    "token": ("say where the service's token is, or replace it", _add_token, _token),
    "share": ("give somebody else a token for models, by a link", _add_share, _share),
    "shares": ("list the shares and their use", _add_nothing, _shares),
    "revoke": ("end a share", _add_revoke, _revoke),
    "port": ("say which port shares are called on, or close it", _add_port, _port),
    "audit": ("list who changed the service, and from where", _add_audit, _audit),
    "logs": ("print the service's last log lines", _add_logs, _logs),
    "bench": ("load-test a model; the status is 1 if --slo is not met", _add_bench, _bench),
    "history": ("list the stored load tests", _add_history, _history),
    "compare": ("compare two load tests", _add_compare, _compare),
}
