from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import msgspec
import pytest

from tests.live.ticks import EPOCH, FakeService, ticks
from workbench.core.messages import ReleaseReason, Timings
from workbench.core.ports import Outcome
from workbench.live.batches import FIRST_RECORDS
from workbench.live.ring import COLUMNS, DETAIL, MAX_MODELS, MEANS, Ring
from workbench.live.tick import ModelFigures, Tick, TickReader

NUMBERS = [each.name for each in fields(ModelFigures) if each.name != "last_error"]


def tick(number: int, epoch: str = EPOCH, **models: ModelFigures) -> Tick:
    """At one second each."""
    return Tick(epoch, number, 1000.0 + number, 1.0, {}, {}, models, {})


def figures(value: float) -> ModelFigures:
    values: dict[str, Any] = dict.fromkeys(NUMBERS, value)
    return replace(ModelFigures(**values), queued=int(value))


IDLE = replace(figures(0), p50_s=None, p95_s=None, p99_s=None)


def test_history_is_what_was_told_oldest_first() -> None:
    ring = Ring(100)
    for number in range(5):
        ring.add(tick(number, digits=figures(number)))
    history = ring.history(None, 60, 60)
    assert history["epoch"] == EPOCH
    assert history["models"]["digits"] == {
        "time": [1000, 1001, 1002, 1003, 1004],
        **{name: [0, 1, 2, 3, 4] for name in COLUMNS},
    }


def test_only_the_models_asked_for_are_told_and_unknown_ones_are_none() -> None:
    ring = Ring(10)
    ring.add(tick(0, a=IDLE, b=IDLE))
    assert set(ring.history(["b", "unknown"], 60, 60)["models"]) == {"b"}
    assert set(ring.history(None, 60, 60)["models"]) == {"a", "b"}


def test_an_empty_ring_has_an_empty_history() -> None:
    assert Ring(10).history(None, 60, 60) == {"epoch": "", "models": {}}


def test_the_oldest_tick_goes_when_the_ring_is_full() -> None:
    ring = Ring(4)
    for number in range(11):
        ring.add(tick(number, digits=figures(number)))
    assert ring.history(None, 900, 900)["models"]["digits"]["queued"] == [7, 8, 9, 10]


@pytest.mark.parametrize(("window_s", "points", "times"), [(4, 4, [7, 8, 9, 10]), (4, 2, [8, 10]), (900, 1, [10])])
def test_a_window_is_cut_into_equal_parts(window_s: float, points: int, times: list[int]) -> None:
    ring = Ring(100)
    for number in range(1, 11):
        ring.add(tick(number, digits=figures(number)))
    assert ring.history(None, window_s, points)["models"]["digits"]["time"] == [1000 + time for time in times]


def test_thinned_out_rates_are_means_and_p99_and_the_queue_keep_their_highest() -> None:
    ring = Ring(100)
    for number in range(8):
        spike = 100.0 if number == 5 else 1.0
        ring.add(tick(number, digits=figures(spike)))
    found = ring.history(None, 8, 2)["models"]["digits"]
    assert found["requests_per_s"] == found["errors_per_s"] == found["p50_s"] == [1, 25.75]
    assert found["p99_s"] == found["queued"] == [1, 100]


def test_a_percentile_of_nothing_is_null_and_counts_in_no_mean() -> None:
    ring = Ring(100)
    for number in range(4):
        ring.add(tick(number, digits=replace(IDLE, p50_s=0.5, p99_s=0.7) if number == 1 else IDLE))
    found = ring.history(None, 4, 2)["models"]["digits"]
    assert found["p50_s"][0] == 0.5
    assert found["p99_s"][0] == pytest.approx(0.7)
    assert math.isnan(found["p50_s"][1])
    assert msgspec.json.decode(msgspec.json.encode(found))["p99_s"][1] is None


def test_a_part_without_a_tick_gives_no_point() -> None:
    ring = Ring(100)
    for number in (0, 1, 30, 31):
        ring.add(tick(number, digits=figures(number)))
    assert ring.history(None, 40, 40)["models"]["digits"]["time"] == [1000, 1001, 1030, 1031]


def test_a_model_has_no_points_before_it_was_there_nor_after_it_was_gone() -> None:
    ring = Ring(100)
    for number in range(9):
        models = {"digits": IDLE} | ({"guest": figures(number)} if 3 <= number <= 5 else {})
        ring.add(tick(number, **models))
    assert ring.history(None, 60, 60)["models"]["guest"]["time"] == [1003, 1004, 1005]


def test_another_epoch_begins_with_nothing() -> None:
    ring = Ring(100)
    ring.add(tick(0, digits=IDLE))
    ring.add(tick(0, epoch="epoch-2", other=figures(7)))
    history = ring.history(None, 60, 60)
    assert (history["epoch"], set(history["models"])) == ("epoch-2", {"other"})
    assert history["models"]["other"]["time"] == [1000]


def test_a_clock_that_jumps_back_breaks_nothing() -> None:
    ring = Ring(100)
    for time in (1000.0, 1001.0, 400.0, 401.0):
        ring.add(replace(tick(0, digits=IDLE), time=time))
    assert ring.history(None, 60, 60)["models"]["digits"]["time"][-2:] == [400, 401]


def test_models_that_left_the_ring_are_forgotten_and_there_are_never_too_many() -> None:
    ring = Ring(4)
    ring.add(tick(0, guest=IDLE))
    for number in range(1, 10):
        ring.add(tick(number, digits=IDLE))
    assert ring.names == ["digits"]
    ring.add(tick(10, **{f"model-{number}": IDLE for number in range(MAX_MODELS + 7)}))
    assert len(ring.names) == MAX_MODELS


def test_fifteen_minutes_of_forty_busy_models_take_eleven_megabytes() -> None:
    service = FakeService(("digits", "1"), *((f"model-{number}", "1") for number in range(39)))
    ring = Ring(3600)
    for each in ticks(service, 3, 0.001, 0.01, 0.1):
        ring.add(each)
    assert ring.nbytes == 3600 * (8 + 40 * 76) + 40 * 12 * FIRST_RECORDS
    assert ring.nbytes < 11.5e6


def test_models_in_detail_have_more_columns_and_the_others_have_not() -> None:
    service = FakeService(("digits", "1"), ("other", "1"))
    ring = Ring(100)
    for each in ticks(service, 3, 0.001):
        ring.add(each)
    models = ring.history(["other"], 60, 60, {"digits", "unknown"})["models"]
    assert set(models) == {"digits", "other"}
    assert set(models["other"]) == {"time", *COLUMNS}
    assert set(models["digits"]) == {"time", *COLUMNS, *DETAIL, *MEANS, "batches"}
    assert {len(column) for column in models["digits"].values()} == {len(models["digits"]["time"])}


def test_a_mean_over_many_ticks_counts_every_request_and_every_batch_once() -> None:
    service = FakeService()
    made, ring = TickReader(), Ring(100)
    quick, slow = Timings(0.1, 0.2, 0.3, 0.4), Timings(0.9, 0.2, 0.3, 0.4)
    service.batch(3, ReleaseReason.FULL, quick, quick, quick, send_s=0.01)
    ring.add(made.take(service.snapshot()))
    service.batch(1, ReleaseReason.IDLE, slow, send_s=0.05)
    ring.add(made.take(service.snapshot()))
    found = ring.history(None, 60, 1, {"digits"})["models"]["digits"]
    assert found["queue_s"] == pytest.approx([(3 * 0.1 + 0.9) / 4], rel=1e-3)
    assert found["compute_s"] == pytest.approx([0.3], rel=1e-3)
    assert found["send_s"] == pytest.approx([0.02], rel=1e-3)
    assert found["batch_rows"] == [2]
    assert found["batches"] == [{"full": {"3": 1}, "idle": {"1": 1}}]


def test_a_point_in_which_nothing_was_run_has_no_batches_and_no_means() -> None:
    service = FakeService()
    made, ring = TickReader(), Ring(100)
    for served in (True, False):
        if served:
            service.batch(2, ReleaseReason.IDLE, Timings(0.1))
        ring.add(made.take(service.snapshot(1.0)))
    found = ring.history(None, 60, 60, {"digits"})["models"]["digits"]
    assert found["batches"] == [{"idle": {"2": 1}}, None]
    assert found["batch_rows"][0] == 2
    assert all(math.isnan(found[name][1]) for name in MEANS)


def test_the_history_begins_with_the_newest_error() -> None:
    service = FakeService()
    made, ring = TickReader(), Ring(100)
    for message in ("the first", "the second"):
        service.fail(Outcome.FAILED, message=message)
        ring.add(made.take(service.snapshot(10.0)))
    ring.add(made.take(service.snapshot(100.0)))
    error = ring.history(None, 900, 60)["models"]["digits"]["last_error"]
    assert error == {"time": 1010.0, "code": "failed", "message": "the second"}


def test_of_an_hour_the_last_fifteen_minutes_are_there_at_once() -> None:
    """On a clock that the test moves; with two spikes, one of which is too old."""
    service, made, ring = FakeService(), TickReader(), Ring(900)
    began = service.now
    for second in range(3600):
        spike = second in (600, 3000)
        service.batch(8 if spike else 1, ReleaseReason.IDLE, Timings(ran_s=0.5 if spike else 0.001))
        ring.add(made.take(service.snapshot(1.0)))
    found = ring.history(["digits"], 900, 300, {"digits"})["models"]["digits"]
    assert len(found["time"]) == 300
    assert (found["time"][0], found["time"][-1]) == (began + 2703, began + 3600)
    assert found["requests_per_s"] == [1] * 300
    slow = [time for time, p99_s in zip(found["time"], found["p99_s"], strict=True) if p99_s > 0.1]
    assert slow == [began + 3003]
    (at,) = [point for point, batches in enumerate(found["batches"]) if "8" in batches["idle"]]
    assert found["batches"][at] == {"idle": {"1": 2, "8": 1}}
    assert found["time"][at] == began + 3003
    assert sum(sum(batches["idle"].values()) for batches in found["batches"]) == 900
