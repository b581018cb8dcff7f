"""What happened before anybody looked, a second a line."""

from __future__ import annotations

import json
from typing import Any

from workbench.core.messages import Timings
from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Outcome
from workbench.telemetry import past_snapshots
from workbench.telemetry.metrics import Metrics


class Service:
    """The service's own metrics, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.metrics = Metrics(lambda: self.now, lambda: self.now)

    def second(self, *served: str, step_s: float = 1.0) -> None:
        """A second in which each of these models answered one request."""
        for model in served:
            self.metrics.request_done(model, "1", Outcome.OK, Timings(ran_s=0.25, batch_size=1))
        self.now += step_s
        self.metrics._ticked(0.0)

    def lines(self, since: float = 0.0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.metrics.past.lines(since, "e")]


def asked(lines: list[dict[str, Any]]) -> list[list[tuple[str, int]]]:
    return [sorted((each["name"], each["requests"]["ok"]) for each in line["models"]) for line in lines]


def test_each_second_is_a_line_of_the_versions_that_were_not_idle() -> None:
    service = Service()
    service.second("a", "a", "b")
    service.second()
    service.second("b")
    lines = service.lines()
    assert asked(lines) == [[("a", 2), ("b", 1)], [], [("b", 1)]]
    assert [line["time"] for line in lines] == [1001.0, 1002.0, 1003.0]
    assert all(line["past"] and line["epoch"] == "e" and line["interval_s"] == 1.0 for line in lines)
    first = next(each for each in lines[0]["models"] if each["name"] == "a")
    assert (first["requests_per_s"], first["queued"]) == (2.0, None)
    assert abs(first["p50_s"] - 0.25) < 0.01
    assert asked(service.lines(since=1002.0)) == [[("b", 1)]]


def test_a_second_is_over_when_it_is_and_a_stall_makes_it_longer() -> None:
    service = Service()
    service.second("a", step_s=0.6)
    assert service.lines() == []
    service.second("a", step_s=2.4)
    (line,) = service.lines()
    assert (line["interval_s"], asked([line])) == (3.0, [[("a", 2)]])


def test_of_many_busy_versions_a_few_are_looked_at_at_once() -> None:
    service = Service()
    names = [f"m{number}" for number in range(past_snapshots.AT_ONCE * 2 + 1)]
    service.second(*names)
    assert service.lines() == []
    service.second(step_s=0.1)
    assert service.lines() == []
    service.second(names[0], step_s=0.1)
    (line,) = service.lines()
    assert (line["time"], line["interval_s"]) == (1001.0, 1.0)
    assert len(asked([line])[0]) == len(names)
    service.second(*names[1:3], step_s=0.8)
    counted = [count for line in service.lines() for _, count in asked([line])[0]]
    assert sum(counted) == len(names) + 3, "each request in one line"


def test_it_reaches_a_quarter_of_an_hour_back_and_takes_no_more_memory_than_it_may(monkeypatch: Any) -> None:
    service = Service()
    for _ in range(1000):
        service.second("a")
    assert [service.lines()[at]["time"] for at in (0, -1)] == [1100.0, 2000.0]
    monkeypatch.setattr(past_snapshots, "MOST_BYTES", 5000)
    service.second("a", "b")
    kept = service.lines()
    assert 1 < len(kept) < 10
    assert sum(len(json.dumps(line["models"])) for line in kept) < 10_000
    assert kept[-1]["time"] == 2001.0


def test_a_clock_that_is_set_back_begins_anew() -> None:
    service = Service()
    service.second("a")
    service.second("a", step_s=-500.0)
    service.second("a")
    assert [(line["time"], asked([line])) for line in service.lines()] == [(502.0, [[("a", 2)]])]


def test_a_version_that_was_forgotten_counts_from_nothing_when_it_is_back() -> None:
    service = Service()
    service.second("a", "a", "a")
    for number in range(20):  # of those that are gone, the latest are kept
        service.second(f"m{number}")
        service.metrics.model_changed(ModelStatus(f"m{number}", "1", ModelState.GONE))
    assert ("a", "1") not in service.metrics._figures
    service.second("a")
    assert asked(service.lines())[-1] == [("a", 1)]
