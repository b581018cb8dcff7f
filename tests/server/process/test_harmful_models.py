from __future__ import annotations

import pytest

from workbench.core.run_marks import Culprit, MarkedRun, ModelKey
from workbench.server.process.harmful_models import REPEATS_S, HarmfulModels, culprit_of

A, B = ModelKey("a", "1", "d"), ModelKey("b", "2", "e")


@pytest.mark.parametrize(
    ("runs", "thread", "blamed"),
    [
        pytest.param([], 7, None, id="none ran"),
        pytest.param([MarkedRun(A, 7)], None, Culprit(A), id="one ran"),
        pytest.param([MarkedRun(A, 7)], 8, Culprit(A), id="one ran, and a thread of the runtime's died"),
        pytest.param([MarkedRun(A, 7), MarkedRun(B, 8)], 8, Culprit(B), id="the thread that died"),
        pytest.param([MarkedRun(A, 7, "s1")], 7, Culprit(A, "s1"), id="all of it was a share's"),
        pytest.param([MarkedRun(A, 7, "s1"), MarkedRun(A, 8)], None, Culprit(A), id="of one model, but of two callers"),
        pytest.param([MarkedRun(A, 7, "s1"), MarkedRun(A, 8)], 7, Culprit(A, "s1"), id="the share's thread died"),
        pytest.param([MarkedRun(A, 7), MarkedRun(B, 8)], None, None, id="two ran, nobody knows which died"),
        pytest.param([MarkedRun(A, 7), MarkedRun(B, 8)], 9, None, id="two ran, and a thread of the runtime's died"),
    ],
)
def test_whose_run_it_was(runs: list[MarkedRun], thread: int | None, blamed: Culprit | None) -> None:
    assert culprit_of(runs, thread) == blamed


def test_the_second_time_within_an_hour_sets_a_model_aside_and_counting_begins_anew() -> None:
    harmful = HarmfulModels()
    ends = ((A, 0), (B, 1), (A, REPEATS_S - 1), (A, REPEATS_S))
    told = [harmful.ended(Culprit(model), now) for model, now in ends]
    assert told == [False, False, True, False]
    assert harmful.ended(Culprit(B), 1 + REPEATS_S) is False  # the first time was too long ago


def test_what_a_share_did_does_not_count_against_the_model_nor_against_another_share() -> None:
    harmful = HarmfulModels()
    culprits = Culprit(A, "s1"), Culprit(A, "s2"), Culprit(A), Culprit(B, "s1")
    assert [harmful.ended(each, 0) for each in culprits] == [False] * 4
    assert [harmful.ended(each, 1) for each in culprits] == [True] * 4


def test_the_callers_of_a_model_whose_run_ended_a_worker_have_runs_of_their_own_for_an_hour() -> None:
    harmful = HarmfulModels()
    harmful.ended(Culprit(A), 10)
    harmful.ended(Culprit(B, "s1"), 20)  # whose it was is known already
    assert harmful.suspects(20) == [(A, REPEATS_S - 10)]
    assert harmful.suspects(10 + REPEATS_S) == []
