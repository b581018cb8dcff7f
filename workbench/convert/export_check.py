"""Asks an export that is staged, and not served yet, what the original was asked; says how the two agree."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from workbench.client.client import AsyncClient
from workbench.client.formatting import counted
from workbench.client.predict import Predictor
from workbench.client.results import Prediction
from workbench.convert.agreement import Agreement, compare, flaws, merged
from workbench.convert.converters import Check, Converted, words
from workbench.core.provenance import AnswerCheck
from workbench.errors import ExecutionError, InvalidInput, ModelError, Unavailable

_PAUSES_S = (0.5, 2.0, 10.0)

COLUMNS = 4
"""The most columns of a row that a message shows."""

_SAMPLE = "give rows like its training data, as sample=X[:100] (--sample X[:100])"
_BY_HAND = "export it yourself and load the file"
_FORCE = "force=True (--force) serves it all the same"
"""What may help where an export is refused."""


class DoesNotAgree(ModelError):
    """An export does not answer as its original does."""

    def __init__(self, message: str, flaw: str) -> None:
        super().__init__(message)
        self.flaw = flaw
        """What it did wrong, as "flipped 12 labels"."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an export agrees with its original."""

    clause: str = ""
    """For the one line: "labels equal, max |diff| 1.4e-7 on 32 rows"."""
    details: tuple[str, ...] = ()
    """A sentence for each comparison."""
    check: AnswerCheck | None = None
    refusal: str = ""
    """Why it is not to be served, as one message; empty: the two agree."""
    flaw: str = ""
    """What it did wrong, as "flipped 12 labels"."""


async def compare_with_original(
    client: AsyncClient, name: str, version: str, converted: Converted, tolerance: float, *, serving: bool = False
) -> Comparison:
    """Call version `version` of model `name` with the rows of each check. `serving`: it serves already."""
    agreements: list[Agreement] = []
    details: list[str] = []
    refusal = flaw = ""
    outcome = f"so version {version} was discarded"
    if serving:
        outcome = f"and version {version}, which serves, is the same model: it goes on serving"
    for check in converted.checks:
        rows = _rows(converted, check)
        try:
            answer = await _answer(Predictor(client), name, check, version)
            answers = answer if check.read is None else check.read(answer)
            found = compare(check.expected, answers, converted.labels, tolerance)
        except (InvalidInput, ExecutionError) as error:
            flaw = flaw or "did not take the same rows"
            why = f"does not take the rows that the original does ({error.message}), on {rows}"
            hint = converted.cure or (_SAMPLE if converted.made_up else _BY_HAND)
        except Exception as error:  # numpy's, for answers of a form that nobody has seen yet
            flaw = flaw or "could not be compared"
            why = f"gave answers that could not be compared with the original's on {rows} ({words(error)})"
            hint = converted.cure or _BY_HAND
        else:
            agreements.append(found)
            limit = [] if found.agrees else [f"the tolerance is {tolerance:g}"]
            told = "; ".join([found.summary, *limit, *_examples(check.rows, found)])
            details.append(f"compared with the original on {rows}: {told}")
            if found.agrees:
                continue
            why = f"does not answer as the original on {rows} ({told})"
            hint = _hint(found, converted)
        what = f"{converted.source}, served as Python," if converted.cure else f"the export of {converted.source}"
        refusal = refusal or f"{what} {why}, {outcome}; {hint}; {_FORCE}"
    total = sum(check.row_count for check in converted.checks)
    result = merged(agreements, total, converted.made_up, tolerance, one_call=converted.one_call)
    if not refusal:
        return Comparison(result.summary, tuple(details), result)
    summary = f"{flaw} on {counted(total, 'row')}" if flaw else result.summary
    result = AnswerCheck(False, total, converted.made_up, tolerance, summary, result.outputs)
    return Comparison(
        f"forced, though it {flaw or f'differs: {summary}'}", tuple(details), result, refusal, flaw or flaws(result)
    )


async def _answer(predictor: Predictor, name: str, check: Check, version: str) -> Prediction:
    """A function that has died of the made-up rows of the warm-up is started again after a pause."""
    for pause_s in _PAUSES_S:
        try:
            return await predictor.predict(name, check.rows, version=version)
        except Unavailable:
            await asyncio.sleep(pause_s)
    return await predictor.predict(name, check.rows, version=version)


def row_values(rows: Any, row: int) -> str:
    """A few values of one row of what a model is called with: "age=31, city='Bern', …"."""
    shown = [f"{name}={value}" if name else value for name, value in islice(_values(rows, row), COLUMNS + 1)]
    return ", ".join(shown[:COLUMNS] + ["…"] * (len(shown) > COLUMNS))


def _rows(converted: Converted, check: Check) -> str:
    if converted.one_call:
        return "the sample"
    rows = (
        counted(check.row_count, "made-up row") if converted.made_up else f"{counted(check.row_count, 'row')} of yours"
    )
    return " ".join(filter(None, [rows, converted.like, check.what]))


def _hint(found: Agreement, converted: Converted) -> str:
    if converted.cure:
        return converted.cure
    if not math.isfinite(found.needed):
        return _BY_HAND
    if converted.made_up:
        return _SAMPLE
    return f"where that is near enough, load it with tolerance={math.ceil(found.needed * 1000) / 1000:g}"


def _examples(rows: object, found: Agreement) -> Iterator[str]:
    for row, became in found.wrong_rows:
        try:
            yield f"row {row} ({row_values(rows, row)}): {became}"
        except Exception:  # of a table of the user's own kind: what became of the row is worth more
            yield f"row {row}: {became}"


def _values(rows: Any, row: int) -> Iterator[tuple[str, str]]:
    """The values of one row, with their columns' names where they have some."""
    if isinstance(rows, Mapping):
        for name, column in rows.items():
            yield str(name), _value(column[row])
    elif hasattr(rows, "iloc"):
        found = rows.iloc[row]
        if hasattr(found, "items"):
            for name, value in found.items():
                yield str(name), _value(value)
        else:
            yield "", _value(found)
    else:
        found = rows[row]
        if isinstance(found, str | bytes):
            yield "", _value(found)
        else:
            for value in np.ravel(found):
                yield "", _value(value)


def _value(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if not isinstance(value, str) and (array := np.asarray(value)).size > 1:
        return f"{array.dtype}{list(array.shape)}"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
