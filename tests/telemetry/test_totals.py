from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from workbench.core.histogram import SERVICE, Histogram
from workbench.core.messages import ReleaseReason
from workbench.core.ports import Outcome
from workbench.telemetry.counters import Counters, Durations, Failure
from workbench.telemetry.dense_histogram import DenseHistogram
from workbench.telemetry.rolling_windows import WindowTotals
from workbench.telemetry.totals import Totals

FULL: dict[str, Any] = {
    "outcomes": Counter({Outcome.OK: 11}),
    "released": {ReleaseReason.FULL: Counter({4: 12})},
    "batches_s": defaultdict(float, {4: 13.0}),
    "last_error": Failure(14.0, "failed", "why"),
}
"""Values that a number of its own cannot make: a field -> what it holds."""


def full(kind: type[Counters] | type[WindowTotals]) -> Any:
    """Totals in which no two fields hold the same, and none is empty."""
    totals = kind()
    for number, field in enumerate(dataclasses.fields(kind), 1):
        value = getattr(totals, field.name)
        if field.name in FULL:
            setattr(totals, field.name, FULL[field.name])
        elif isinstance(value, np.ndarray):
            setattr(totals, field.name, value + number)
        elif isinstance(value, Histogram):
            setattr(totals, field.name, Histogram.of(SERVICE, [0.001 * number] * number))
        elif hasattr(value, "add"):
            value.add([0.001 * number] * number)
        else:
            setattr(totals, field.name, type(value)(number))
    return totals


def plain(value: Any) -> Any:
    """The value with its arrays as lists, so that two of them compare."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, DenseHistogram):
        return (id(value.layout), value.counts.tolist(), value.total)
    if isinstance(value, Histogram):
        return value.encode()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


KINDS = pytest.mark.parametrize("kind", [Counters, WindowTotals])


@KINDS
def test_every_field_is_filled_with_a_value_of_its_own(kind: type[Counters]) -> None:
    empty, held = plain(kind()), plain(full(kind))
    assert [name for name in empty if empty[name] == held[name]] == []
    assert len({repr(value) for value in held.values()}) == len(held)


@KINDS
def test_every_field_is_copied(kind: type[Counters]) -> None:
    totals = full(kind)
    copied = totals.copy()
    assert plain(copied) == plain(totals)
    for field in dataclasses.fields(kind):
        value = getattr(totals, field.name)
        if not isinstance(value, int | float | Failure | Histogram):
            assert getattr(copied, field.name) is not value, field.name


@KINDS
def test_every_field_is_subtracted_but_those_that_hold_the_latest(kind: type[Counters]) -> None:
    totals = full(kind)
    assert plain(totals.since(kind())) == plain(totals)
    nothing = plain(totals.since(totals.copy()))
    for field in dataclasses.fields(kind):
        if "latest" in field.metadata:
            assert nothing.pop(field.name) == plain(getattr(totals, field.name))
        elif field.name == "batches_s":
            assert nothing.pop(field.name) == {4: 0.0}
        else:
            assert nothing.pop(field.name) == plain(getattr(kind(), field.name)), field.name


def test_the_fields_that_hold_the_latest_are_these() -> None:
    kept = {field.name for field in dataclasses.fields(Counters) if "latest" in field.metadata}
    assert kept == {"last_at", "last_error"}


def test_a_copy_shares_nothing_that_is_counted_in() -> None:
    counters = Counters()
    counters.add_batches([(4, ReleaseReason.FULL, 0.5)])
    counters.request.add([0.001])
    before = counters.copy()
    counters.add_batches([(4, ReleaseReason.FULL, 0.5), (2, ReleaseReason.DELAY, 0.25)])
    counters.request.add([0.001])
    assert before.batches == 1
    assert before.request.linear.count == 1
    since = counters.since(before)
    assert since.released == {ReleaseReason.FULL: {4: 1}, ReleaseReason.DELAY: {2: 1}}
    assert since.batches_s == {4: 0.5, 2: 0.25}


def test_a_new_total_is_one_field() -> None:
    @dataclasses.dataclass(slots=True)
    class Wider(Totals):
        old: int = 0
        new: Durations = dataclasses.field(default_factory=Durations)

    wider = Wider()
    before = wider.copy()
    wider.old += 2
    wider.new.add([0.5])
    assert (wider.since(before).old, wider.since(before).new.native.count) == (2, 1)
    assert before.new.linear.count == 0
