"""`%infer`: each verb is a thin shell over the Python call of the same name.

Misuse and the service's errors are shown in one line, without a traceback. A verb returns an object that displays
itself and can be kept: `p = %infer predict digits X`.
"""

from __future__ import annotations

import builtins
import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.display import display

from workbench.client.futures import Job
from workbench.client.pipeline_wiring import pairs_of
from workbench.client.port_for_share import port_for_share
from workbench.client.results import Lines
from workbench.client.summary import Card
from workbench.convert.pytorch.last_calls import watch_cell
from workbench.core.runtime import suffixes
from workbench.notebook import bench_magic as benches
from workbench.notebook.cell import defined, last_value
from workbench.notebook.commands import CELL_VERBS, VERBS, Command, Misuse, help_text, number, pairs, parse, whole
from workbench.notebook.completion import MATCHER, matcher
from workbench.notebook.progress_bar import show_job

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from workbench.api import Workbench
    from workbench.client.audit_results import AuditTable
    from workbench.client.rollout_results import Rollout


def register(
    shell: InteractiveShell,
    connect: Callable[[], Workbench],
    running: Callable[[], Workbench | None],
    attach: Callable[[], Workbench] | None = None,
) -> None:
    """Add `%infer` and its completion to `shell`.

    `connect` returns the workbench and may start a service; `running` returns one whose service runs; `attach` returns
    one that starts nothing, to ask about a service that may not be running.
    """
    shell.register_magics(InferMagics(shell, connect, attach or connect))
    completer: Any = shell.Completer
    others = [each for each in completer.custom_matchers if getattr(each, "matcher_identifier", "") != MATCHER]
    completer.custom_matchers = [*others, matcher(shell, running)]  # so that registering twice adds one
    if watch_cell not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", watch_cell)


NOTHING = object()
"""Stands for the missing value of a line magic."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or the notebook's stop button, shown as one line. As after any interrupt, further cells do not run."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


@magics_class
class InferMagics(Magics):
    """The `%infer` line magic, and the `%%infer` cell magic."""

    shell: Any

    def __init__(
        self, shell: InteractiveShell, connect: Callable[[], Workbench], attach: Callable[[], Workbench]
    ) -> None:
        super().__init__(shell)
        self._connect = connect
        self._verbs: dict[str, Callable[[Command], object]] = {
            "models": self._models,
            "panel": lambda command: attach().panel(),
            "watch": lambda command: attach().watch(command.name or None, command.flags.get("--window", 60.0)),
            "show": lambda command: self._connect().show(command.name, command.flags.get("--version")),
            "pipeline": self._pipeline,
            "export": self._export,
            "unload": self._unload,
            "set": lambda command: self._connect().set(command.name, **pairs(command.rest)),
            "versions": lambda command: self._connect().versions(command.name),
            "label": lambda command: _labelled(self._connect(), command),
            "route": lambda command: _routed(self._connect(), command),
            "rollout": lambda command: _rolled_out(self._connect(), command),
            "shadow": lambda command: self._connect().shadow(command.name),
            "rollback": lambda command: self._connect().rollback(command.name),
            "status": lambda command: attach().status(),
            "restart": lambda command: attach().restart(),
            "stop": lambda command: _stopped(attach()),
            "token": lambda command: _token(attach(), command),
            "share": lambda command: _share(self._connect(), command),
            "shares": lambda command: self._connect().shares(),
            "revoke": lambda command: _revoked(self._connect(), command.rest),
            "port": lambda command: _port(self._connect(), command),
            "audit": lambda command: _audit(self._connect(), command),
            "logs": lambda command: attach().logs(whole("--lines", command.flags.get("--lines", "20"))),
            "bench": lambda command: benches.bench(self._connect(), command, self._evaluated),
            "history": lambda command: benches.listed(command),
            "compare": lambda command: benches.compare(attach(), command, self._evaluated),
            "help": lambda command: Lines(help_text(command.rest)),
        }
        assert {*self._verbs, *CELL_VERBS} == set(VERBS)
        self.shell.display_formatter.ipython_display_formatter.for_type(Job, show_job)

    @no_var_expand
    @line_cell_magic
    def infer(self, line: str, cell: str | None = None) -> object:
        try:
            command = parse(line, cell is not None)
            kept = command.flags.get("-o")
            if kept is not None and not kept.isidentifier():
                raise Misuse(f"-o must be the name of a variable, got {kept[:40]!r}")
            value = NOTHING
            if cell is not None and command.verb == "function":
                value = defined(self.shell, cell, _FUNCTIONS)
            elif cell is not None and command.verb != "help":
                value = last_value(self.shell, cell)
            answer = self._answer(command, value)
        except Misuse as misuse:
            raise UsageError(str(misuse)) from None
        if kept is not None:
            self.shell.push({kept: answer})
        return answer

    infer.__doc__ = "\n".join(help_text())

    def _answer(self, command: Command, value: object) -> object:
        """Run the verb. `value` of a cell replaces what the line would have named."""
        try:
            if command.verb == "load":
                return self._load(command, self._source(command, command.rest) if value is NOTHING else value)
            if command.verb == "function":
                return self._function(command, value)
            if command.verb == "predict":
                return self._predict(command, self._evaluated(command.rest) if value is NOTHING else value)
            return self._verbs[command.verb](command)
        except KeyboardInterrupt as stopped:
            raise Interrupted(str(stopped) or _INTERRUPTED.get(command.verb, "interrupted")) from None

    def _models(self, command: Command) -> object:
        window = command.flags.get("--window")
        return self._connect().models() if window is None else self._connect().models(window=window)

    def _load(self, command: Command, source: object) -> object:
        flags = command.flags
        options: dict[str, Any] = {
            "device": flags.get("--device"),
            "max_batch": flags.get("--max-batch"),
            "delay": flags.get("--delay"),
            "instances": flags.get("--instances"),
            "as_python": "--as-python" in flags,
            "batch": "--batch" in flags,
            "force": "--force" in flags,
            "allow_code": "--allow-code" in flags,
            "signature": flags.get("--signature", ""),
            "route": "--no-route" not in flags,
        }
        if (sample := flags.get("--example", flags.get("--sample"))) is not None:
            options["sample"] = self._evaluated(sample)
        if "--tolerance" in flags:
            options["tolerance"] = number("--tolerance", flags["--tolerance"])
        return self._connect().load(command.name, source, progress=True, **options)

    def _function(self, command: Command, functions: Any) -> object:
        flags = command.flags
        model = flags.get("--model")
        wanted = _FUNCTIONS[1:] if model else _FUNCTIONS[:1]
        functions = {name: function for name, function in functions.items() if name in wanted}
        if not functions:
            needed = "preprocess or postprocess" if model else "predict(x): ..., with a parameter for each input"
            raise Misuse(f"a cell of {command.verb} {command.name} defines `def {needed}`")
        options: dict[str, Any] = {"instances": flags.get("--instances"), "model": model}
        if "--sample" in flags:
            options["sample"] = self._evaluated(flags["--sample"])
        if "--tolerance" in flags:
            options["tolerance"] = number("--tolerance", flags["--tolerance"])
        options |= {"batch": "--batch" in flags, "force": "--force" in flags}
        return self._connect().function(command.name, progress=True, **functions, **options)

    def _predict(self, command: Command, value: object) -> object:
        version = command.flags.get("--version")
        if "--bg" in command.flags:
            return self._connect().submit(command.name, value, version=version)
        return self._connect().predict(command.name, value, version=version, progress=True)

    def _pipeline(self, command: Command) -> object:
        flags = command.flags
        options: dict[str, Any] = {"max_batch": flags.get("--max-batch"), "force": "--force" in flags}
        mapping = dict(pairs_of(flags.get("--map", "")))
        return self._connect().pipeline(command.name, command.rest, mapping, **options)

    def _export(self, command: Command) -> object:
        flags = command.flags
        path = command.rest.strip("'\"")
        options: dict[str, Any] = {"version": flags.get("--version"), "force": "--force" in flags}
        return self._connect().export(command.name, path, progress=True, **options)

    def _unload(self, command: Command) -> object:
        self._connect().unload(command.name)
        return Card(f"{command.name} is unloaded", {})

    def _meant(self, command: Command, text: str) -> str:
        """The line to paste with the variable that was meant: of a like name, or the newest that is a model."""
        from workbench.convert.converters import is_known

        names = [name for name in self.shell.user_ns if not name.startswith("_")]
        models = [name for name in reversed(names) if is_known(self.shell.user_ns[name])]
        near = difflib.get_close_matches(text, names, n=1) or models[:1]
        if not near:
            return f"; make the model first, or give a file: %infer load {command.name} path/to/model.onnx"
        return f"; did you mean: %infer load {command.name} {near[0]}"

    def _source(self, command: Command, text: str) -> object:
        """Resolve a notebook variable, a path or an expression, in this order: a file `clf` must not hide `clf`."""
        if text not in self.shell.user_ns and _is_path(text):
            return text.strip("'\"")
        if text.isidentifier() and text not in self.shell.user_ns and not hasattr(builtins, text):
            raise Misuse(f"there is neither a variable nor a file {text!r}{self._meant(command, text)}")
        return self._evaluated(text)

    def _evaluated(self, text: str) -> object:
        try:
            return self.shell.ev(text)
        except SyntaxError as error:
            raise Misuse(f"{text[:80]!r} is not an expression: {error.msg}") from None
        except Exception as error:  # the user's own expression, which may raise anything
            raise Misuse(
                f"{text[:80]!r} failed, {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            ) from None


_FUNCTIONS = ("predict", "preprocess", "postprocess")

_INTERRUPTED = {
    "predict": "interrupted; the request was cancelled",
    "load": "interrupted; %infer models shows what is served",
}


def _stopped(workbench: Workbench) -> Card:
    workbench.stop()
    return Card("the service is stopped; the next call starts it again, with the same models", {})


def _labelled(workbench: Workbench, command: Command) -> Card:
    asked = pairs(command.rest, "label", "canary=2")
    return workbench.label(
        command.name, {each: None if version == "none" else version for each, version in asked.items()}
    )


def _rolled_out(workbench: Workbench, command: Command) -> Rollout:
    flags = command.flags
    names = ("steps", "every", "guard", "by")
    options: dict[str, Any] = {name: flags[f"--{name}"].strip("'\"") for name in names if f"--{name}" in flags}
    if "--on-breach" in flags:
        options["on_breach"] = flags["--on-breach"]
    if "--least-calls" in flags:
        options["least_calls"] = whole("--least-calls", flags["--least-calls"])
    return workbench.rollout(
        command.name, command.rest or None, stop="--stop" in flags, resume="--resume" in flags, **options
    )


def _routed(workbench: Workbench, command: Command) -> Card:
    flags = command.flags
    shadow = flags.get("--shadow")
    if not command.rest and shadow is None:
        raise Misuse(f"route {command.name} needs KEY=VALUE or --shadow: {VERBS['route'].usage}")
    options: dict[str, Any] = {"by": flags.get("--by", ""), "wait": "--wait" in flags, "force": "--force" in flags}
    if shadow is not None:
        options["shadow"] = {} if shadow == "none" else _parts(shadow.strip("'\""))
    if "--for" in flags:
        options["share"] = flags["--for"].strip("'\"")
    if "--keep-rows" in flags:
        options["keep_rows"] = whole("--keep-rows", flags["--keep-rows"])
    return workbench.route(command.name, _parts(command.rest) if command.rest else None, **options)


def _parts(text: str) -> str | dict[str, str]:
    """Version -> part, of v2=10%; or the version alone, which has all of it."""
    return pairs(text, "route", "v2=10%") if "=" in text else text.strip()


def _token(workbench: Workbench, command: Command) -> Card:
    show = "--show" in command.flags
    if "--rotate" in command.flags:
        replaced = workbench.rotate_token()
        return workbench.token(show=True) if show else replaced
    return workbench.token(show=show)


def _share(workbench: Workbench, command: Command) -> object:
    flags = {flag: value.strip("'\"") for flag, value in command.flags.items()}
    if "--with" not in flags:
        raise Misuse(f"share needs whom it is for: {VERBS['share'].usage.replace('[--with LABEL]', '--with LABEL')}")
    limit = flags.get("--max-in-flight")
    port, grpc_port = (
        None if (given := flags.get(flag)) is None else whole(flag, given) for flag in ("--port", "--grpc-port")
    )
    with port_for_share(
        workbench,
        flags.get("--host"),
        port=port,
        grpc_port=grpc_port,
        tls=flags.get("--tls"),
        tls_cert=flags.get("--tls-cert"),
        tls_key=flags.get("--tls-key"),
        insecure="--insecure" in flags,
    ) as opened:
        share = workbench.share(
            command.name,
            flags["--with"],
            flags.get("--rate"),
            flags.get("--expires", "7d"),
            row_rate=flags.get("--row-rate"),
            quota=flags.get("--quota"),
            row_quota=flags.get("--row-quota"),
            version=flags.get("--version"),
            max_body=flags.get("--max-body"),
            metrics="--metrics" in flags,
            max_in_flight=None if limit is None else whole("--max-in-flight", limit),
            show_token="--show-token" in flags,
            as_env=flags.get("--as-env"),
        )
    if opened is not None:
        display(opened)  # type: ignore[no-untyped-call]
    if "--show-token" in flags:
        display(Lines([str(share.token)]))  # type: ignore[no-untyped-call]
    return share


def _port(workbench: Workbench, command: Command) -> Card:
    if "--close" not in command.flags:
        return workbench.port()
    workbench.close_port()
    return Card("the port for shares is closed", {})


def _revoked(workbench: Workbench, share: str) -> Card:
    workbench.revoke(share)
    return Card(f"the share {share} has ended; its next call is refused", {})


def _audit(workbench: Workbench, command: Command) -> AuditTable | Lines:
    table = workbench.audit(command.flags.get("--last", "7d"))
    return table.json_lines if "--json" in command.flags else table


def _is_path(text: str) -> bool:
    """Return whether `text` names an existing file or folder, or could only be a path."""
    bare = text.strip("'\"")
    try:
        there = Path(bare).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        there = False
    return (
        there
        or (bare.endswith(suffixes()) and not any(char in bare for char in "()[]"))
        or bare.startswith(("hf:", "~" + os.sep, "." + os.sep, "/"))
    )
