"""Reads and judges the bounds of a load test: "p99<20ms,errors<0.1%,rate>500".

They are the goal of a search (`--slo`), the pass mark in CI, and the verdicts of a report. Latencies are those of the
answered requests, counted from when they were due. `errors<1%` is added where no bound is about errors, so that a
model which answers quickly but seldom does not pass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import InvalidInput

if TYPE_CHECKING:
    from workbench.loadtest.analysis.aggregate import Stretch

EXAMPLE = "p99<20ms,errors<0.1%"

_TERM = re.compile(
    r"\s*(?P<metric>[a-z]+[0-9.]*)\s*(?P<relation><=|>=|<|>)\s*(?P<number>[0-9.eE+-]+)\s*(?P<unit>\S*)\s*"
)
_QUANTILE = re.compile(r"p(?P<percent>[0-9]{1,2}(\.[0-9]+)?)")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Threshold:
    """One bound. `limit` is in seconds for a latency, a share for errors, requests a second for the rate."""

    metric: str
    """"p99", "p99.9", "max", "errors" or "rate"."""
    relation: str
    """"<", "<=", ">" or ">="."""
    limit: float

    @property
    def quantile(self) -> float | None:
        """0.99 for p99, 1 for max; None where it is not a latency."""
        if self.metric == "max":
            return 1.0
        found = _QUANTILE.fullmatch(self.metric)
        return float(found["percent"]) / 100 if found else None

    def value(self, measured: Stretch) -> float | None:
        """The measured value in the unit of `limit`; None where there is none."""
        if (q := self.quantile) is not None:
            return measured.quantile(q)
        return measured.error_share if self.metric == "errors" else measured.answered_per_s

    def holds(self, value: float | None) -> bool:
        """Whether `value` is within the bound; a missing value is not."""
        if value is None or math.isnan(value):
            return False
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.relation]

    def shown(self, value: float | None) -> str:
        """A value in the unit of this bound: `12.4ms`, `0.3%`, `480/s`."""
        if value is None:
            return "nothing was answered"
        if self.quantile is not None:
            return _duration(value)
        return f"{_number(value * 100)}%" if self.metric == "errors" else f"{_number(value)}/s"

    def __str__(self) -> str:
        return f"{self.metric}{self.relation}{self.shown(self.limit)}"


DEFAULT_ERRORS = Threshold("errors", "<", 0.01)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bound and its measured value."""

    threshold: Threshold
    value: float | None
    held: bool

    def __str__(self) -> str:
        found = self.threshold.shown(self.value)
        return f"{self.threshold} holds: {found}" if self.held else f"{self.threshold} does not hold: {found}"


def parse_thresholds(text: str) -> tuple[Threshold, ...]:
    """The bounds in `text` in order, followed by `DEFAULT_ERRORS` where none is about errors.

    Raises InvalidInput, naming the part that cannot be read.
    """
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise InvalidInput(f"there is no threshold in {text[:80]!r}; one looks like {EXAMPLE}")
    found = tuple(_threshold(part) for part in parts)
    seen: set[tuple[str, str]] = set()
    for each in found:
        if (each.metric, each.relation[0]) in seen:
            raise InvalidInput(f"{each.metric} is bounded twice in {text[:80]!r}; once is enough")
        seen.add((each.metric, each.relation[0]))
    return found if any(each.metric == "errors" for each in found) else (*found, DEFAULT_ERRORS)


def judge(thresholds: Sequence[Threshold], measured: Stretch) -> tuple[Verdict, ...]:
    """Judge each bound."""
    values = [(each, each.value(measured)) for each in thresholds]
    return tuple(Verdict(each, value, each.holds(value)) for each, value in values)


def _threshold(text: str) -> Threshold:
    part = text.strip()
    matched = _TERM.fullmatch(part.lower())
    if matched is None:
        raise InvalidInput(f"{part[:80]!r} is no threshold; one looks like p99<20ms, errors<0.1% or rate>500")
    metric, relation = matched["metric"], matched["relation"]
    number = _parsed(matched["number"], part)
    threshold = Threshold(metric, relation, _in_own_unit(metric, number, matched["unit"], part))
    wanted = ">" if metric == "rate" else "<"
    if relation[0] != wanted:
        what = "a slow answer" if threshold.quantile is not None else "errors" if metric == "errors" else "few requests"
        raise InvalidInput(f"{part!r} asks for {what}; did you mean {part.replace(relation[0], wanted)}?")
    return threshold


def _in_own_unit(metric: str, number: float, unit: str, part: str) -> float:
    if metric == "rate":
        if unit not in ("", "/s"):
            raise InvalidInput(f"{part!r}: a rate is in requests a second, as rate>500")
        return number
    if metric == "errors":
        if unit != "%" and not (number == 0 and not unit):
            raise InvalidInput(f"{part!r}: errors are a share of the requests in percent, as errors<0.1%")
        if not 0 <= number <= 100:
            raise InvalidInput(f"{part!r}: a share of errors lies between 0% and 100%")
        return number / 100
    quantile = _QUANTILE.fullmatch(metric)
    if metric != "max" and (quantile is None or float(quantile["percent"]) <= 0):
        raise InvalidInput(
            f"there is no figure {metric!r} in {part!r}; there are p50, p99, p99.9 and so on, max, errors and rate"
        )
    if unit not in _SECONDS:
        raise InvalidInput(f"{part!r} needs a unit of time: us, ms or s, as {metric}<20ms")
    if number <= 0:
        raise InvalidInput(f"{part!r} can never hold: no answer takes {number:g}{unit}")
    return number * _SECONDS[unit]


def _parsed(text: str, part: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise InvalidInput(f"{text!r} in {part!r} is no number") from None
    if not math.isfinite(number):
        raise InvalidInput(f"{text!r} in {part!r} is too large")
    return number


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{_number(seconds / size)}{unit}"
    return f"{_number(seconds * 1e6)}us"


def _number(value: float) -> str:
    """Three significant digits, without an exponent for what people write without one."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
