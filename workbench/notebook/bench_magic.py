"""`%infer bench`, `history` and `compare`: load tests from a cell, with live progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import display

from workbench.client.formatting import escape
from workbench.client.results import Lines
from workbench.client.version_comparison import VersionComparison
from workbench.loadtest.job import LoadTestJob
from workbench.loadtest.option_schema import FLAG
from workbench.loadtest.options import COMPARE
from workbench.loadtest.report.report import Report
from workbench.loadtest.report.run_table import RunTable
from workbench.loadtest.store.history import history
from workbench.notebook.commands import BENCH_OPTIONS, Command, Misuse, tokens
from workbench.notebook.compared_versions import ComparedVersions
from workbench.notebook.progress_bar import in_notebook
from workbench.visible_text import visible

if TYPE_CHECKING:
    from workbench.api import Workbench

_display: Any = display

DRAWN_EVERY_S = 0.25


def bench(workbench: Workbench, command: Command, evaluated: Callable[[str], object]) -> object:
    """Run a load test and show its progress. Returns the report, or with `--bg` the job."""
    options = options_of(command, evaluated)
    if command.rest:
        options["inputs"] = evaluated(command.rest)
    against = command.flags.get(COMPARE.flag)
    earlier = None if against is None else workbench.report(against)  # before the test, not after it
    handle = workbench.bench(command.name, **options)
    if "--bg" in command.flags:
        return handle
    report = watched(handle)
    if earlier is not None:
        _display(report.compare(earlier))
    return report


def listed(command: Command) -> object:
    """The kept runs as a table, or a sentence where there are none."""
    if found := RunTable(history().list(command.name or None)):
        return found
    of = f" of {command.name!r}" if command.name else ""
    return Lines([f"No load test{of} is kept yet; %infer bench {command.name or 'NAME'} --rate 100 runs one."])


def compare(workbench: Workbench, command: Command, evaluated: Callable[[str], object]) -> object:
    """Compare two runs, or two versions of a model, these on rows or on live traffic."""
    words = list(tokens(command.rest))
    seconds = command.flags.get("--for")
    if len(words) >= 2 and ":" in words[0].text + words[1].text:
        rows = evaluated(command.rest[words[2].start :]) if words[2:] else None
        found = workbench.compare(words[0].text, words[1].text, rows, seconds=seconds, progress=True)
        return ComparedVersions(workbench, found) if isinstance(found, VersionComparison) else found
    if len(words) != 2:
        raise Misuse(
            "compare takes two runs, as %infer compare digits-1 digits-2 (%infer history lists them), or two versions, "
            "as %infer compare digits:1 digits:2 [EXPR]"
        )
    return workbench.compare(words[0].text, words[1].text, seconds=seconds)


def options_of(command: Command, evaluated: Callable[[str], object]) -> dict[str, Any]:
    """The command's flags as options of `Workbench.bench`."""
    options: dict[str, Any] = {}
    for option in BENCH_OPTIONS:
        text = command.flags.get(option.flag)
        if text is not None and option is not COMPARE:
            flag = option.type is FLAG
            options[option.name] = flag or (evaluated(text) if option.is_data else text.strip("'\""))
    return options


def watched(handle: LoadTestJob[Report]) -> Report:
    """Wait for the report, with a progress display below the cell that is updated four times a second.

    An interrupt stops the test, shows what was measured until then, and raises KeyboardInterrupt with one line.
    """
    shown: Any = None
    try:
        while not handle.done():
            try:
                handle.result(DRAWN_EVERY_S)
            except TimeoutError:
                if in_notebook():
                    bundle = _bundle(handle)
                    if shown is None:
                        shown = _display(bundle, raw=True, display_id=True)
                    else:
                        shown.update(bundle, raw=True)
    except KeyboardInterrupt:
        handle.cancel()
        report = handle.result()
        _clear(shown)
        _display(report)
        kept = f", and is kept as {report.id}" if report.id else ""
        raise KeyboardInterrupt(f"the load test was stopped; what was measured until then is above{kept}") from None
    _clear(shown)
    return handle.result()


def _clear(shown: Any) -> None:
    if shown is not None:
        shown.update({"text/plain": "", "text/html": ""}, raw=True)


def _bundle(handle: LoadTestJob[Report]) -> dict[str, str]:
    progress = handle.progress
    text = visible(f"{handle.plan.target.model}: {progress}")
    share = f' value="{progress.share:.3f}"' if progress.total_s else ""
    html = f'<div><progress max="1"{share} style="width:16em"></progress> {escape(text)}</div>'
    return {"text/plain": text, "text/html": html}
