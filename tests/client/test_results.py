from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.client.results import CallTimings, LoadReport, ModelTable, Prediction
from workbench.client.summary import Card, model_card
from workbench.config import ModelConfig
from workbench.core.cache_figures import CacheFigures
from workbench.core.circuit import Circuit, CircuitState
from workbench.core.messages import CacheUse, Timings
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.errors import InvalidInput

TIMINGS = CallTimings(0.010, (Timings(queued_s=0.001, ran_s=0.004, batch_size=3, batch_requests=1),))
SIGNATURE = Signature((TensorSpec("X", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 1)),))


def prediction(**outputs: object) -> Prediction:
    return Prediction("m", "2", {name: np.asarray(value) for name, value in outputs.items()}, TIMINGS)


def objects(*items: object) -> np.ndarray:
    return np.array(items, dtype=object)


def status(**changes: object) -> ModelStatus:
    known: dict[str, object] = {"name": "m", "version": "1", "state": ModelState.READY, "signature": SIGNATURE}
    return ModelStatus(**{**known, **changes})  # type: ignore[arg-type]


def test_a_prediction_is_a_mapping_in_the_models_order() -> None:
    given = prediction(label=[1, 2], scores=[[0.1, 0.9], [0.8, 0.2]])
    assert list(given) == ["label", "scores"]
    assert given["scores"].shape == (2, 2)
    with pytest.raises(KeyError, match="the outputs are 'label', 'scores'"):
        given["nothing"]


def test_the_first_output_is_the_array() -> None:
    given = prediction(label=[1, 2], scores=[[0.1], [0.8]])
    assert np.array_equal(given.array, [1, 2])
    assert np.asarray(given, dtype=np.float32).dtype == np.float32
    assert (np.asarray(given) == [1, 2]).all()


def test_a_prediction_beside_an_array_is_compared_by_its_first_output() -> None:
    given = prediction(label=[1, 2], scores=[[0.1], [0.8]])
    assert (given == np.array([1, 3])).tolist() == [True, False]
    assert given != prediction(label=[1, 2])


def test_utf8_comes_as_text_and_other_bytes_as_they_are() -> None:
    assert prediction(label=objects(b"Z\xc3\xbcrich", b"Bern"))["label"].tolist() == ["Zürich", "Bern"]
    assert prediction(label=objects(b"\xff\xfe", b"Bern"))["label"].tolist() == [b"\xff\xfe", b"Bern"]


def test_timings_say_what_the_cache_answered() -> None:
    ran, hit, joined = Timings(ran_s=0.004), Timings(cache=CacheUse.HIT), Timings(0.004, cache=CacheUse.JOINED)
    assert "a kept answer" in str(CallTimings(0.001, (hit,)))
    assert "equal request that was under way" in str(CallTimings(0.001, (joined,)))
    assert "several services share" in str(CallTimings(0.001, (Timings(cache=CacheUse.REMOTE),)))
    several = CallTimings(0.010, (ran, hit, joined))
    assert str(several).endswith("; 2 of them answered from the cache")
    assert [CallTimings(0.1, each).cache for each in ((ran,), (hit, hit), (hit, joined), ())] == ["", "hit", "", ""]


def test_a_card_tells_what_the_cache_saves() -> None:
    card = model_card(status(cache=CacheFigures(6, 2, 2, entries=3, size_bytes=2_000_000, limit_bytes=64_000_000)))
    assert str(card["result cache"]).startswith("80.0% of 10 calls not run (2 joined an equal one under way); ")
    assert "3 answers in " in str(card["result cache"])
    assert "no calls yet" in str(model_card(status(cache=CacheFigures()))["result cache"])
    assert model_card(status())["result cache"] == ""


def test_pandas_gets_a_column_a_value_and_the_index_that_was_sent() -> None:
    frame = prediction(label=[1, 2], scores=[[0.1, 0.9], [0.8, 0.2]], margin=[[1.0], [2.0]]).to_pandas()
    assert list(frame.columns) == ["label", "scores_0", "scores_1", "margin"]
    indexed = Prediction("m", "1", {"y": np.array([1.0])}, TIMINGS, pd.Index(["row"]))
    assert list(indexed.to_pandas().index) == ["row"]


def test_outputs_without_common_rows_have_no_table() -> None:
    with pytest.raises(InvalidInput, match="no rows in common"):
        prediction(a=[1, 2], b=[1, 2, 3]).to_pandas()


def test_a_prediction_shows_rows_as_rows_and_where_the_time_went() -> None:
    shown = repr(prediction(label=[1, 2], scores=[[0.123456, 0.9], [0.8, 0.2]]))
    assert shown.splitlines() == [
        "m, version 2: label int64[2], scores float64[2, 2]",
        "      label   scores",
        "                  0      1",
        "  0       1   0.123  0.900",
        "  1       2   0.800  0.200",
        "  10.0 ms: compute 4.0 ms, queue 1.0 ms, the way there and back 5.0 ms; 3 rows in its batch",
    ]


def test_timings_show_as_their_sentence() -> None:
    assert repr(TIMINGS) == str(TIMINGS)


def test_html_is_escaped_wherever_text_comes_from_outside() -> None:
    evil = "<script>alert(1)</script>"
    given = Prediction(evil, evil, {evil: objects(evil.encode())}, TIMINGS, pd.Index([evil]))
    table = ModelTable([status(name=evil, reason=evil, batching=evil, device=evil, state=ModelState.FAILED)])
    card = Card(evil, {evil: evil})
    report = LoadReport(status(name=evil, notes=(evil,)), False, None, 1.0, evil, evil)
    for shown in (given, table, card, report, model_card(status(reason=evil))):
        html = shown._repr_html_()
        assert "<script" not in html
        assert "&lt;script" in html


def test_html_shows_some_rows_and_how_many_more() -> None:
    assert "⋮ 94 more rows" in prediction(label=np.arange(100))._repr_html_()


def test_an_output_without_rows_is_shown_too() -> None:
    assert "3.5" in prediction(loss=3.5)._repr_html_()
    assert "3.5" in repr(prediction(loss=3.5))


def test_many_requests_are_summed_up_in_one_line() -> None:
    timings = CallTimings(0.02, (Timings(ran_s=0.002, batch_size=64), Timings(ran_s=0.004, batch_size=36)))
    assert str(timings).startswith("20.0 ms: 2 requests at once, each compute 3.0 ms, queue")
    assert timings.batch_size == 64


def test_of_an_unbatched_model_no_batch_is_told() -> None:
    timings = CallTimings(0.01, (Timings(batch_size=1, batch_requests=1),), batched=False)
    assert timings.batch_size == 0
    assert "batch" not in str(timings)


def test_an_empty_table_says_how_to_load() -> None:
    assert "%infer load NAME SOURCE" in repr(ModelTable([]))
    assert "%infer load NAME SOURCE" in ModelTable([])._repr_html_()
    assert ModelTable([]).to_pandas().empty


def test_a_table_lines_up_and_says_why_a_model_failed() -> None:
    table = ModelTable([status(device="cpu"), status(name="other", state=ModelState.FAILED, reason="no such operator")])
    lines = repr(table).splitlines()
    assert len({line.index("Ready" if "Ready" in line else "Failed") for line in lines[1:3]}) == 1
    assert lines[3] == "other, version 1: Failed: no such operator"
    assert "Failed: no such operator</td>" in table._repr_html_()
    assert table.to_pandas()["state"].tolist() == ["Ready", "Failed"]
    assert len(table[:1]) == 1
    assert table[1].name == "other"


def test_an_open_circuit_breaker_is_said_in_the_table_and_the_card() -> None:
    failing = status(circuit=Circuit(CircuitState.OPEN, "of the last 20 calls 20 failed", 1))
    assert "m, version 1: circuit breaker open: of the last 20 calls 20 failed" in repr(ModelTable([failing]))
    assert "Ready, circuit breaker open: of the last 20 calls 20 failed" in ModelTable([failing])._repr_html_()
    assert "circuit breaker  open: of the last 20 calls 20 failed; calls get 503" in repr(model_card(failing))
    healed = status(circuit=Circuit(CircuitState.CLOSED, "", 1))
    assert "circuit breaker" not in repr(ModelTable([healed]))
    assert "closed; it has opened once since the load" in repr(model_card(healed))
    assert "circuit" not in repr(model_card(status(circuit=Circuit())))


def test_a_report_says_what_was_done() -> None:
    served = status(version="2", device="cpu", routed=True)
    new = repr(LoadReport(served, False, "1", 0.5, "exported m", "equal", ("compared so",)))
    assert new.startswith(
        "exported m · equal · serving in 500 ms\n  m version 2 serves on cpu instead of version 1\n  compared so\n"
        "  X FP32[rows, 4] → y FP32[rows, 1]"
    )
    assert "m version 2 serves on cpu; it took 500 ms" in repr(
        LoadReport(status(version="2", device="cpu", routed=True), False, None, 0.5)
    )
    assert "m version 1 serves with the new settings;" in repr(LoadReport(status(routed=True), False, "1", 0.5))
    assert repr(LoadReport(status(routed=True), True, None, 0.1)) == "m is unchanged, version 1 serving"


def test_a_report_of_a_version_beside_says_how_it_is_called_and_what_serves() -> None:
    beside = repr(LoadReport(status(version="2"), False, "1", 0.5, "exported m", "equal"))
    assert beside.startswith(
        "exported m · equal · loaded in 500 ms\n  m version 2 is loaded and answers as m:2; version 1"
    )
    alone = repr(LoadReport(status(), False, None, 0.5))
    assert alone.startswith("m version 1 is loaded and answers as m:1; no version serves calls that name none")
    assert repr(LoadReport(status(version="2"), True, None, 0.1)) == "m is unchanged, version 2 loaded already"


def test_a_report_tells_a_delay_that_was_asked_for() -> None:
    waits = status(config=ModelConfig(max_queue_delay_s=5.0))
    assert "a batch may wait 5.00 s to grow" in repr(LoadReport(waits, False, None, 0.5))
    assert "to grow" not in repr(LoadReport(status(routed=True), False, None, 0.5))


def test_a_status_shows_itself_in_one_line() -> None:
    assert repr(status(device="cpu")) == "<ModelStatus m, version 1: Ready on cpu>"
    assert repr(status(state=ModelState.FAILED, reason="why")) == "<ModelStatus m, version 1: Failed, why>"


def test_a_load_says_how_many_rows_a_batch_has_and_why_one_click_away() -> None:
    why = "rows that wait are joined, up to 64, the fastest size measured"
    batched = LoadReport(status(batching=why, max_batch_size=64), False, None, 0.5)
    assert "batches of up to 64 rows" in repr(batched) and why not in repr(batched)
    assert f"batches of up to 64 rows</summary><div>{why}</div></details>" in batched._repr_html_()
    alone = LoadReport(status(batching="its rows change each other"), False, None, 0.5)
    assert "its rows change each other" in repr(alone), "of what is not batched the reason is what matters"
    assert "<details" not in alone._repr_html_()
