"""`jupyter infer bench`, `history` and `compare`: load tests from a terminal and in CI.

The exit status says whether what was asked for holds: 0 it does, 1 it does not, or nothing was answered, 130 it was
stopped; wrong use is 2, as of all verbs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

from workbench.config import ENVIRONMENT_PREFIX
from workbench.errors import InvalidInput
from workbench.loadtest.analysis.compare import compare
from workbench.loadtest.bench import bench as begin
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.options import plan_of, searches
from workbench.loadtest.plan import Target
from workbench.loadtest.report.report import Report
from workbench.loadtest.store.history import history

MISSED = 1
STOPPED = 130

SHOWN_EVERY_S = 0.25

_WORDS = ("rate", "users", "think", "ramp", "step", "every", "poisson", "slo", "duration", "warm_up", "rows")
_MORE = ("connections", "timeout", "seed")


class BenchTarget(Protocol):
    """What is needed of `workbench.Workbench`, which lies above this room."""

    def bench(self, name: str, inputs: object = None, **options: Any) -> LoadTestJob[Report]: ...


def bench(
    arguments: argparse.Namespace,
    connect: Callable[[], BenchTarget],
    say: Callable[[object], object],
    show: Callable[[str], object] | None,
) -> int:
    """Run it; `say` is given the report, `show` how far it is, again and again and at last nothing."""
    options = {name: getattr(arguments, name) for name in (*_WORDS, *_MORE)}
    options = {name: value for name, value in options.items() if value is not None}
    if arguments.replay is not None:
        options["replay"] = _times(arguments.replay)
    if arguments.requests is not None:
        options["requests"] = _loaded(arguments.requests, "requests")
        if not isinstance(options["requests"], list):
            raise InvalidInput(f"{arguments.requests!r} holds no list of requests")
    inputs = None if arguments.inputs is None else _loaded(arguments.inputs, "rows")
    earlier = None if arguments.compare is None else history().run(arguments.compare)
    if arguments.endpoint is not None:
        handle = _at(arguments, inputs, options)
    else:
        handle = connect().bench(
            arguments.name, inputs, version=arguments.model_version, sweep=arguments.sweep, **options
        )
    report, stopped = _followed(handle, show)
    if arguments.json is not None:
        text = report.to_json(None if arguments.json == "-" else arguments.json)
        if arguments.json == "-":
            say(text)
    if arguments.html is not None:
        report.to_html(arguments.html)
    if arguments.json != "-":
        say(report)
        if earlier is not None:
            say("")
            say(compare(earlier, report.run))
    if stopped:
        return STOPPED
    return 0 if report.held and report.run.whole.ok else MISSED


def listed(model: str | None, limit: int) -> str:
    """The kept runs as a table."""
    found = history().to_pandas(model, limit)
    return found.to_string() if len(found) else "no load test is kept yet"


def compared(before: str, after: str) -> object:
    kept = history()
    return compare(kept.run(before), kept.run(after))


def _at(arguments: argparse.Namespace, inputs: object, options: dict[str, Any]) -> LoadTestJob[Report]:
    """A test of an endpoint that is no service of ours, or need not be."""
    token_file = arguments.token_file or os.environ.get(f"{ENVIRONMENT_PREFIX}TOKEN_FILE") or None
    token = None if token_file is None else _text(str(token_file)).strip()
    target = Target(arguments.name, arguments.endpoint, arguments.model_version, token)
    plan = plan_of(target, inputs=inputs, **options)
    find = searches(options) and arguments.sweep is None
    return begin(plan, history(), find=find, grid=arguments.sweep)


def _followed(handle: LoadTestJob[Report], show: Callable[[str], object] | None) -> tuple[Report, bool]:
    """The report, and whether Ctrl-C ended the test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited so by what a shell starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    stopped = False
    while not handle.done():
        try:
            handle.result(SHOWN_EVERY_S)
        except TimeoutError:
            if show is not None:
                show(str(handle.progress))
        except KeyboardInterrupt:
            if stopped:
                raise
            stopped = True
            handle.cancel()
    if show is not None:
        show("")
    return handle.result(), stopped


def _times(source: str) -> list[float]:
    """Seconds, as a JSON list or one a line."""
    text = _text(source)
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else text.split()
        return [float(each) for each in found]
    except (ValueError, TypeError):
        raise InvalidInput(f"{source!r} holds no arrival times: seconds, as a JSON list or one a line") from None


def _loaded(source: str, what: str) -> Any:
    import numpy as np

    try:
        if source.endswith(".npy"):
            return np.load(source, allow_pickle=False)
        if source.endswith(".npz"):
            with np.load(source, allow_pickle=False) as named:
                return dict(named)
        return json.loads(_text(source))
    except OSError as error:
        raise InvalidInput(f"{source!r} cannot be read: {error.strerror}") from None
    except (ValueError, BadZipFile):
        raise InvalidInput(f"{source!r} holds no {what}: JSON, or arrays of numpy (.npy, .npz)") from None


def _text(source: str) -> str:
    try:
        return Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{source!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{source!r} cannot be read: it is not text") from None
