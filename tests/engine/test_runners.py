"""One runner with all cores, or one a core: the decision in tables, the measurement with runs that take their time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.engine.fakes import STEADY, FakeSession, rows
from workbench.config import MIB, ModelConfig
from workbench.core.tensor import Array
from workbench.engine.model_loader import ModelLoader
from workbench.engine.runners import Compared, RunnerLayout, compare, set_layout, why_not_compare
from workbench.engine.sources import ModelSource
from workbench.errors import ExecutionError, ModelError


@pytest.mark.parametrize(
    ("config", "cores", "layout"),
    [
        (ModelConfig(), 4, RunnerLayout(1, 4)),
        (ModelConfig(runners="latency"), 4, RunnerLayout(1, 4)),
        (ModelConfig(runners="throughput"), 4, RunnerLayout(4, 1)),
        (ModelConfig(instances=2), 4, RunnerLayout(2, 2)),
        (ModelConfig(instances=8), 4, RunnerLayout(8, 1)),
        (ModelConfig(intra_op_threads=3), 4, RunnerLayout(1, 3)),
        (ModelConfig(instances=2, runners="throughput"), 4, RunnerLayout(2, 2)),  # what is set by hand wins
        (ModelConfig(intra_op_threads=2, runners="throughput"), 4, RunnerLayout(1, 2)),
    ],
)
def test_the_layout_is_what_the_settings_ask_for(config: ModelConfig, cores: int, layout: RunnerLayout) -> None:
    assert set_layout(config, cores) == layout


@pytest.mark.parametrize(
    ("config", "device", "cores", "size_bytes", "load_s", "run_s", "why"),
    [
        (ModelConfig(), "cpu", 2, MIB, 0.1, 0.01, ""),
        (ModelConfig(runners="latency"), "cpu", 2, MIB, 0.1, 0.01, "as its settings say"),
        (ModelConfig(instances=2), "cpu", 2, MIB, 0.1, 0.01, "as its settings say"),
        (ModelConfig(), "cuda:0", 2, MIB, 0.1, 0.01, "runs on cuda:0 follow each other"),
        (ModelConfig(), "cpu", 1, MIB, 0.1, 0.01, "there is one core"),
        (ModelConfig(), "cpu", 2, MIB, 0.1, 0.0001, "too short to gain"),
        (ModelConfig(), "cpu", 2, 300 * MIB, 0.1, 0.01, "over 256 MiB"),
        (ModelConfig(), "cpu", 2, MIB, 9.0, 0.01, "over 2 s to load"),
    ],
)
def test_a_second_load_to_compare_is_made_only_where_it_can_pay(
    config: ModelConfig, device: str, cores: int, size_bytes: int, load_s: float, run_s: float, why: str
) -> None:
    found = why_not_compare(config, device, cores, size_bytes, load_s, run_s)
    assert why in found and bool(why) == bool(found)


@pytest.mark.parametrize(
    ("one", "several", "better"),
    [
        ([100, 100, 100], [119, 119, 119], False),
        ([100, 100, 100], [121, 121, 121], True),
        ([100, 100, 100], [150, 100, 100], False),  # once lucky
        ([100, 20, 30], [110, 100, 100], False),  # the other was held up
    ],
)
def test_several_runners_must_be_much_better_at_best_and_mostly(
    one: list[float], several: list[float], better: bool
) -> None:
    assert Compared(one, several).several_better is better


def test_a_layout_reads_as_a_phrase() -> None:
    assert str(RunnerLayout(1, 2)) == "one runner thread with 2 cores"
    assert str(RunnerLayout(2, 1)) == "2 runner threads with 1 core each"
    assert str(RunnerLayout(1, 1)) == "one runner thread"


class Timed(FakeSession):
    """Each run takes so long, however many there are at once; `serial`: one at a time."""

    def __init__(self, run_s: float, serial: bool = False, fails: bool = False) -> None:
        super().__init__(signature=STEADY)
        self.run_s, self.fails = run_s, fails
        self.turn = threading.Semaphore(1 if serial else 100)
        self.at_once = self.most_at_once = 0

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        if self.fails:
            raise ExecutionError("not with so many")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        with self.turn:
            threading.Event().wait(self.run_s)
        self.at_once -= 1
        return super().run(inputs, outputs)


def test_runners_are_compared_at_work_all_at_once() -> None:
    one, several = Timed(0.004), Timed(0.002)
    rates = compare(one, several, {"x": rows(1, 2)}, 2, threads=2)
    assert (one.most_at_once, several.most_at_once) == (1, 2)
    assert rates.several_better
    assert max(rates.one) <= 2 / 0.004
    assert (max(one.batches), max(several.batches)) == (2, 1)  # the same rows under way


def opened(config: ModelConfig, *sessions: FakeSession) -> tuple[ModelLoader, list[int]]:
    asked: list[int] = []

    def open_session(path: Path, config: ModelConfig, *, instances: int) -> FakeSession:
        asked.append(instances)
        if len(asked) > len(sessions):
            raise ModelError("no more memory")
        return sessions[len(asked) - 1]

    opening = ModelLoader(ModelSource(Path("m.onnx"), "d", 1000), config, open_session, cores=2)
    opening.open()
    return opening, asked


def test_a_model_that_several_runners_serve_better_gets_them_and_the_other_session_is_closed() -> None:
    one, several = Timed(0.008), Timed(0.002)
    opening, asked = opened(ModelConfig(max_batch_size=2), one, several)
    warm = opening.warm()
    assert asked == [1, 2]
    assert warm.layout == RunnerLayout(2, 1)
    assert "rows/s measured" in warm.why and "one runner thread with 2 cores" in warm.why
    assert opening.sessions == [several]
    assert (one.closed, several.closed) == (1, 0)
    assert set(warm.found.run_s) == {1, 2}


def test_a_model_that_gains_nothing_keeps_its_one_runner() -> None:
    one, several = Timed(0.004), Timed(0.004, serial=True)
    opening, _ = opened(ModelConfig(max_batch_size=2), one, several)
    warm = opening.warm()
    assert warm.layout == RunnerLayout(1, 2)
    assert "2 runner threads with 1 core each" in warm.why
    assert opening.sessions == [one]
    assert (one.closed, several.closed) == (0, 1)


def test_a_comparison_that_fails_leaves_one_runner() -> None:
    one = Timed(0.004)
    opening, _ = opened(ModelConfig(max_batch_size=2), one, Timed(0.0, fails=True))
    assert opening.warm().layout == RunnerLayout(1, 2)
    opening, asked = opened(ModelConfig(max_batch_size=2), Timed(0.004))
    assert opening.warm().layout == RunnerLayout(1, 2)
    assert asked == [1, 2]


def test_what_is_set_is_opened_so_at_once_and_not_compared() -> None:
    opening, asked = opened(ModelConfig(max_batch_size=2, runners="throughput"), Timed(0.004))
    assert opening.warm().layout == RunnerLayout(2, 1)
    assert asked == [2]
