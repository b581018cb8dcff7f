from __future__ import annotations

import itertools

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.clock import Clock
from workbench.core.messages import Timings
from workbench.core.ports import Outcome
from workbench.errors import InvalidInput
from workbench.share.share_record import check_label
from workbench.telemetry import exposition
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.request_record import RequestRecord
from workbench.telemetry.share_usage import FOLD_AT, MAX_VERSIONS, OTHER, SHOWN, ModelUse, ShareLabels, ShareUsage


def answered(
    at: float, duration_s: float = 0.002, rows: int = 3, model: str = "digits", version: str = "1"
) -> RequestRecord:
    timings = Timings(0.1, 0.2, 0.3, 0.4, rows=rows)
    return RequestRecord(
        model, version, b"", at, at - duration_s, sent_at=at, request_bytes=100, response_bytes=10, timings=timings
    )


def note(usage: ShareUsage, record: RequestRecord) -> None:
    """As the end of an inference does."""
    usage.answered(record, Metrics().exchange_done(record))


@pytest.fixture
def usage() -> ShareUsage:
    """Of a clock that stands at 1000 s, in records at 50 s."""
    return ShareUsage(("digits", "iris"), Clock(1000.0), Clock(50.0))


def test_what_was_answered_is_counted_by_model(usage: ShareUsage) -> None:
    assert usage.models() == {}
    for number in range(2 * FOLD_AT + 7):
        note(usage, answered(40.0, 0.001 * (1 + number % 100)))
    note(usage, answered(45.0, model="iris", version="7"))
    digits, iris = usage.models()["digits"], usage.models()["iris"]
    count = 2 * FOLD_AT + 7
    assert (digits.answered, digits.errors, digits.rows) == (count, 0, 3 * count)
    assert (digits.request_bytes, digits.response_bytes) == (100 * count, 10 * count)
    assert digits.latency.quantile(0.5) == pytest.approx(0.050, rel=0.03)
    assert digits.latency.quantile(0.99) == pytest.approx(0.099, rel=0.03)
    np.testing.assert_allclose(digits.stages_s, np.array([0.1, 0.2, 0.3, 0.4]) * count)
    assert (digits.last_at, iris.last_at) == (990.0, 995.0)
    assert usage.latency is not None and usage.latency.linear.count == count + 1
    assert ModelUse.together([digits, iris]).rows == 3 * count + 3


def test_models_and_versions_that_take_turns_are_told_apart(usage: ShareUsage) -> None:
    turns = [("digits", "1"), ("iris", "1"), ("digits", "2")]
    for model, version in itertools.islice(itertools.cycle(turns), FOLD_AT + 30):
        note(usage, answered(40.0, model=model, version=version))
    counts = {key: use.answered for key, use in usage.versions().items()}
    assert sum(counts.values()) == FOLD_AT + 30
    assert max(counts.values()) - min(counts.values()) <= 1 and set(counts) == set(turns)


def test_what_failed_is_counted_by_how(usage: ShareUsage) -> None:
    usage.failed(RequestRecord("digits", "1", b"", 1.0, 1.0, sent_at=1.5), Outcome.INVALID)
    usage.failed(RequestRecord("digits", "", b"", 1.0), Outcome.CANCELLED)
    usage.failed(RequestRecord("of somebody else", "1", b"", 1.0), Outcome.REJECTED)
    models = usage.models()
    assert set(models) == {"digits", ""}
    assert (models["digits"].errors, models["digits"].failed_s, models["digits"].last_at) == (1, 0.5, 1000.0)
    assert models["digits"].outcomes == {Outcome.INVALID: 1, Outcome.CANCELLED: 1}
    assert models[""].errors == 1


def test_versions_without_end_take_no_memory_without_end_and_totals_only_grow(usage: ShareUsage) -> None:
    for number in range(1, 101):
        note(usage, answered(40.0, version=str(number)))
        usage.fold()
    assert len(usage.versions()) == MAX_VERSIONS + 1
    assert usage.versions()["digits", ""].answered == 100 - MAX_VERSIONS
    assert usage.models()["digits"].answered == 100


def samples(labels: ShareLabels, shares: list[tuple[str, ShareUsage, int, int]]) -> dict[tuple[str, ...], float]:
    metrics = Metrics(Clock())
    metrics.watch_shares(lambda: labels.figures(shares))
    assert not [family for family in exposition.families(metrics.state()) if "share" in family.name]
    text = exposition.render(metrics.state(shares=True))[0].decode()
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "le")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("infer_share_")
    }


def test_metrics_show_the_shares_by_label() -> None:
    first, second, idle = (ShareUsage(("digits",)) for _ in range(3))
    note(first, answered(40.0))
    note(second, answered(40.0))
    second.failed(RequestRecord("digits", "1", b"", 1.0), Outcome.FAILED)
    # The second has the label of the first, which has ended.
    found = samples(ShareLabels(), [("team-a", first, 2, 0), ("team-a", second, 1, 3), ("team-b", idle, 0, 0)])
    assert found["infer_share_requests_total", "team-a", "digits", "ok"] == 2
    assert found["infer_share_requests_total", "team-a", "digits", "failed"] == 1
    assert found["infer_share_rows_total", "team-a", "digits"] == 6
    assert found["infer_share_request_bytes_total", "team-a", "digits"] == 200
    assert found["infer_share_response_bytes_total", "team-a", "digits"] == 20
    assert found["infer_share_refused_total", "team-a"] == 3
    assert found["infer_share_in_flight", "team-a"] == 3
    assert found["infer_share_request_duration_seconds_count", "team-a"] == 2
    assert found["infer_share_request_duration_seconds_sum", "team-a"] == pytest.approx(0.004)


def test_labels_in_metrics_are_bounded_and_each_keeps_its_own() -> None:
    shares = [(f"team-{number}", ShareUsage(("digits", "iris")), 0, 0) for number in range(3 * SHOWN)]
    labels = ShareLabels()
    last = shares[-1][1]
    note(last, answered(40.0))
    assert {key[1] for key in samples(labels, shares)} == {f"team-{number}" for number in [3 * SHOWN - 1]}
    for _, usage, *_ in shares:
        note(usage, answered(40.0))
        note(usage, answered(40.0, model="iris"))
    found = samples(labels, shares)
    shown = {key[1] for key in found}
    assert len(shown) == SHOWN + 1 and {"team-0", f"team-{3 * SHOWN - 1}", OTHER} <= shown
    assert found["infer_share_requests_total", OTHER, "", "ok"] == 2 * (3 * SHOWN - SHOWN)
    assert sum(value for key, value in found.items() if key[0] == "infer_share_requests_total") == 6 * SHOWN + 1


def test_a_share_that_is_called_other_is_not_counted_with_all_others() -> None:
    shares = [(f"team-{number}", ShareUsage(("digits",)), 0, 0) for number in range(SHOWN)] + [
        ("other", ShareUsage(("digits",)), 0, 0)
    ]
    labels, (_, mine, *_) = ShareLabels(), shares[-1]
    note(mine, answered(40.0))
    samples(labels, shares)
    for _, usage, *_ in shares[:-1]:
        note(usage, answered(40.0))
    found = samples(labels, shares)
    assert found["infer_share_requests_total", "other", "digits", "ok"] == 1
    assert found["infer_share_requests_total", OTHER, "", "ok"] == 1
    with pytest.raises(InvalidInput):
        check_label(OTHER)
