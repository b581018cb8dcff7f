"""Loads every object of the cases, measures it, and writes the table in docs/models.md: `make model-table`."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tests.helpers.service_process import Serve
from tests.model_zoo.case import Case
from workbench.api import Workbench, connect
from workbench.errors import WorkbenchError

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- made by make model-table -->\n", "<!-- until here -->\n"
MEASURED_S = 0.15
"""How long each side is called for its rows per second."""
MODEL = "zoo"
YES, NO = "yes", "**no**"
REASON = 220
"""The most characters of a reason in the table."""


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    versions: str = ""
    served: bool = False
    answers: str = ""
    """How they agree, or why it is not served."""
    served_per_s: float | None = None
    own_per_s: float | None = None
    """Rows per second of the original, called in the same process with the same rows."""


def all_cases() -> list[Case]:
    """The cases of all modules *_cases.py beside this one, by kind."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("*_cases.py") if path.stem[:5] != "test_")
    found = [case for each in modules for case in importlib.import_module(f"tests.model_zoo.{each}").CASES]
    kinds = [case.kind for case in found]
    assert len(kinds) == len(set(kinds)), f"two cases of one kind: {sorted(kinds)}"
    return found


def measured(workbench: Workbench, case: Case) -> Row:
    """Load the object with its fresh rows as sample, and call both. What the load refuses is a row too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, rows = case.make()
        try:
            report = workbench.load(MODEL, source, sample=rows)
            if case.refused:  # without rows of the user's own, then
                workbench.load(MODEL, source)
            check = report.status.provenance.check if report.status.provenance is not None else None
            versions = report.status.provenance.versions if report.status.provenance is not None else {}
            served = _rate(lambda: workbench.predict(MODEL, rows), _count(rows))
        except WorkbenchError as error:
            return Row(case.kind, answers=_reason(error.message, case.refused))
        finally:
            if MODEL in workbench:
                workbench.unload(MODEL)
        answers = re.sub(r" on [\d,]+ rows?$", "", check.summary) if check is not None else "not compared"
        told = ", ".join(f"{name} {each}" for name, each in list(versions.items())[:2])
        return Row(case.kind, told, True, answers, served, _own_rate(source, rows))


def line(row: Row) -> str:
    """The row as a line of the table."""
    rates = " | ".join("" if each is None else _short(each) for each in (row.served_per_s, row.own_per_s))
    yes = YES if row.served else NO
    return f"| {cell(row.kind)} | {cell(row.versions)} | {yes} | {cell(row.answers)} | {rates} |"


def lines_in(page: str) -> dict[str, str]:
    """The lines of the table as it stands in `page`, by the kind as it is written there."""
    made = page.partition(BEGIN)[2].partition(END)[0]
    return {each.split(" | ")[0].removeprefix("| "): each for each in made.splitlines() if _is_row(each)}


def written(page: str, lines: Iterable[str]) -> str:
    """`page` with its table replaced."""
    found = list(lines)
    served = sum(f" | {YES} | " in each for each in found)
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    head = (
        f"{len(found)} objects: {served} are served and answer as the original does, {len(found) - served} are "
        "refused for the reason in their row.\nRows/s are those of one caller who sends a few rows over and over, to "
        "the service and to the object in the caller's own process,\non two CPU cores that others used too: they "
        f"compare the two, and are no limits. ONNX Runtime {onnxruntime.__version__}.\n"
    )
    columns = "object | versions | served | answers, or why not | served rows/s | its own rows/s"
    return "\n".join(
        [f"{before}{BEGIN}", head, f"| {columns} |", "|---|---|---|---|---|---|", *found, "", f"{END}{after}"]
    )


def _is_row(text: str) -> bool:
    return f" | {YES} | " in text or f" | {NO} | " in text


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _reason(message: str, known: str) -> str:
    """The message, cut behind the reason that is known."""
    found = re.sub(r", so version \d+ was discarded", "", message)
    most = max(REASON, found.find(known) + len(known) + 1)
    return found if len(found) <= most else f"{found[:most].rsplit(' ', 1)[0]} …"


def _short(number: float) -> str:
    return f"{float(f'{number:.2g}'):,.0f}"


def _count(rows: Any) -> int:
    if isinstance(rows, dict):
        return _count(next(iter(rows.values())))
    return int(rows.shape[0]) if hasattr(rows, "shape") else len(rows[0]) if isinstance(rows, tuple) else len(rows)


def _own_rate(source: Any, rows: Any) -> float | None:
    """None where the object cannot be called with these rows as they are."""
    try:
        return _rate(lambda: _call(source, rows), _count(rows))
    except Exception:  # a library's own
        return None


def _call(source: Any, rows: Any) -> object:
    for method in ("predict", "transform", "score_samples"):
        if hasattr(source, method):
            return getattr(source, method)(rows)
    if any(each.__module__.split(".")[0] == "torch" for each in type(source).__mro__):
        import torch

        with torch.no_grad():
            return _called(source, rows, torch.as_tensor)
    return source(rows)


def _called(source: Any, rows: Any, tensor: Callable[[Any], Any]) -> object:
    if isinstance(rows, dict):
        return source(**{name: tensor(each) for name, each in rows.items()})
    return source(*map(tensor, rows)) if isinstance(rows, tuple) else source(tensor(rows))


def _rate(call: Callable[[], object], rows: int) -> float:
    """Rows per second of the median call."""
    call()
    taken: list[float] = []
    until = time.perf_counter() + MEASURED_S
    while time.perf_counter() < until or not taken:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return rows / float(np.median(taken))


def main(*options: str) -> None:
    """With --missing, only cases that the table does not have yet are measured."""
    cases = all_cases()
    page = PAGE.read_text(encoding="utf-8")
    lines = {kind: each for kind, each in lines_in(page).items() if "--missing" in options}
    with tempfile.TemporaryDirectory() as folder, Serve(Path(folder)) as serve:
        with connect(serve.ready().published["url"], serve.token) as workbench:
            for case in cases:
                if cell(case.kind) not in lines:
                    lines[cell(case.kind)] = line(measured(workbench, case))
                    print(lines[cell(case.kind)], flush=True)
        serve.stop()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(written(page, [lines[cell(case.kind)] for case in cases]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
