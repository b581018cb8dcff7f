from __future__ import annotations

import pytest

from workbench.core.run_marks import MarkedRun, ModelKey
from workbench.server.process.harmful_models import REPEATS_S, HarmfulModels, model_to_blame

A, B = ModelKey("a", "1", "d"), ModelKey("b", "2", "e")


@pytest.mark.parametrize(
    ("runs", "thread", "blamed"),
    [
        pytest.param([], 7, None, id="none ran"),
        pytest.param([MarkedRun(A, 7)], None, A, id="one ran"),
        pytest.param([MarkedRun(A, 7)], 8, A, id="one ran, and a thread of the runtime's died"),
        pytest.param([MarkedRun(A, 7), MarkedRun(B, 8)], 8, B, id="the thread that died"),
        pytest.param([MarkedRun(A, 7), MarkedRun(B, 8)], None, None, id="two ran, nobody knows which died"),
        pytest.param([MarkedRun(A, 7), MarkedRun(B, 8)], 9, None, id="two ran, and a thread of the runtime's died"),
    ],
)
def test_whose_run_it_was(runs: list[MarkedRun], thread: int | None, blamed: ModelKey | None) -> None:
    assert model_to_blame(runs, thread) == blamed


def test_the_second_time_within_an_hour_sets_a_model_aside_and_counting_begins_anew() -> None:
    harmful = HarmfulModels()
    told = [harmful.ended(model, now) for model, now in ((A, 0), (B, 1), (A, REPEATS_S - 1), (A, REPEATS_S))]
    assert told == [False, False, True, False]
    assert harmful.ended(B, 1 + REPEATS_S) is False  # the first time was too long ago
