"""`jupyter infer bench`, `history` and `compare`: load tests from a terminal and in CI.

The exit status is 0 if everything asked for holds, 1 if something does not or nothing was answered, 2 for wrong use, as
of all verbs, and 130 if the test was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from workbench.config import ENVIRONMENT_PREFIX
from workbench.errors import InvalidInput
from workbench.loadtest.analysis.compare import compare
from workbench.loadtest.bench import bench_target
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.option_schema import TIMES, VALUES
from workbench.loadtest.options import OPTIONS
from workbench.loadtest.plan import Target
from workbench.loadtest.report.report import Report
from workbench.loadtest.report.run_table import RunTable
from workbench.loadtest.store.history import history
from workbench.rendezvous.token_file import private_line
from workbench.visible_text import visible

MISSED = 1
STOPPED = 130

SHOWN_EVERY_S = 0.25


def bench(
    arguments: argparse.Namespace,
    begin: Callable[..., LoadTestJob[Report]],
    say: Callable[[object], object],
    show: Callable[[str], object] | None,
) -> int:
    """Run a load test; the exit status.

    `begin` is `Workbench.bench`, and is called where no --endpoint is given. `say` prints the report; `show` is called
    with the progress, and at last with "".
    """
    options: dict[str, Any] = {"sweep": arguments.sweep}
    for option in OPTIONS.values():
        if (value := getattr(arguments, option.name)) is not None:
            if option.type is TIMES:
                value = _text(value)
            elif option.type is VALUES:
                value = _loaded(value, option.name)
            options[option.name] = value
    inputs = None if arguments.inputs is None else _loaded(arguments.inputs, "rows")
    earlier = None if arguments.compare is None else history().run(arguments.compare)
    if arguments.endpoint is not None:
        target = Target(arguments.name, arguments.endpoint, arguments.model_version, _token(arguments))
        handle = bench_target(target, inputs, **options)
    else:
        handle = begin(arguments.name, inputs, version=arguments.model_version, **options)
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


def listed(model: str | None, limit: int) -> object:
    """The kept runs as a table."""
    return RunTable(history().list(model, limit)) or "no load test is kept yet"


def compared(before: str, after: str) -> object:
    kept = history()
    return compare(kept.run(before), kept.run(after))


def _token(arguments: argparse.Namespace) -> str | None:
    """The token of an endpoint that need not be a service of ours."""
    token_file = arguments.token_file or os.environ.get(f"{ENVIRONMENT_PREFIX}TOKEN_FILE") or None
    return None if token_file is None else private_line(Path(token_file))


def _followed(handle: LoadTestJob[Report], show: Callable[[str], object] | None) -> tuple[Report, bool]:
    """Wait for the report; also whether Ctrl-C ended the test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # inherited so by what a shell starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    stopped = False
    while not handle.done():
        try:
            handle.result(SHOWN_EVERY_S)
        except TimeoutError:
            if show is not None:
                show(visible(str(handle.progress)))
        except KeyboardInterrupt:
            if stopped:
                raise
            stopped = True
            handle.cancel()
    if show is not None:
        show("")
    return handle.result(), stopped


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
        raise InvalidInput(f"{source!r} must hold {what} as JSON, or arrays of numpy (.npy, .npz)") from None


def _text(source: str) -> str:
    try:
        return Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{source!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{source!r} cannot be read: it is not text") from None
