"""Lays a model's runs out over the cores of a CPU: one runner with all of them, or one a core.

Which is faster differs by model and by machine, and so is measured with the threads that would run it: on two cores,
two runners gave a quantised transformer 1.6 times the rows/s, and a memory-bound perceptron fewer than one runner.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench.config import MIB, ModelConfig
from workbench.core.ports import Session
from workbench.core.tensor import Array
from workbench.engine.inline_execution import INLINE_BOUND_S
from workbench.errors import WorkbenchError

COMPARE_BUDGET_S = 0.3
"""Seconds after which no further round of the comparison begins; the first is always made."""

WINDOW_S = 0.02
"""Seconds of one measurement, or one run if that is longer."""

MUCH_BETTER = 1.2
"""Several runners must give this many times the rows/s, since their runs take longer and a lone request feels that."""

COMPARED_SIZE = 256 * MIB
COMPARED_LOAD_S = 2.0
"""A model that is larger, or took longer to load, is not loaded twice to compare."""


@dataclass(frozen=True, slots=True)
class RunnerLayout:
    """Runner threads, and the cores that one run takes."""

    runners: int
    cores: int

    def __str__(self) -> str:
        cores = f" with {self.cores} {'core' if self.cores == 1 else 'cores'}"
        if self.runners > 1:
            return f"{self.runners} runner threads{cores} each"
        return f"one runner thread{cores if self.cores > 1 else ''}"


def set_layout(config: ModelConfig, cores: int) -> RunnerLayout:
    """The layout that the settings ask for; with `runners` "auto" one runner, until a comparison says otherwise."""
    if config.runners == "throughput" and not chosen_by_hand(config):
        return RunnerLayout(cores, 1)
    return RunnerLayout(config.instances, min(cores, config.intra_op_threads or max(1, cores // config.instances)))


def chosen_by_hand(config: ModelConfig) -> bool:
    return config.instances != 1 or config.intra_op_threads != 0


def why_not_compare(config: ModelConfig, device: str, cores: int, size_bytes: int, load_s: float, run_s: float) -> str:
    """The reason to leave a model with one runner; empty where it is worth a second load. `run_s`: of one batch."""
    if config.runners != "auto" or chosen_by_hand(config):
        return "as its settings say"
    if device != "cpu":
        return f"runs on {device} follow each other"
    if cores == 1:
        return "there is one core"
    if run_s <= INLINE_BOUND_S:
        return "its runs are too short to gain by more"
    if size_bytes > COMPARED_SIZE:
        return f"not compared with more, the model having over {COMPARED_SIZE // MIB} MiB"
    if load_s > COMPARED_LOAD_S:
        return f"not compared with more, the model taking over {COMPARED_LOAD_S:g} s to load"
    return ""


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows/s of one runner with all cores, and of one a core, measured alternately: a pair for each round."""

    one: Sequence[float]
    several: Sequence[float]

    @property
    def several_better(self) -> bool:
        """True where several win by MUCH_BETTER in the best round (least disturbed by other load) and in the median
        round (not a lucky one)."""
        gain = statistics.median(b / a for a, b in zip(self.one, self.several, strict=True))
        return min(gain, max(self.several) / max(self.one)) >= MUCH_BETTER


def compare(
    one: Session,
    several: Session,
    inputs: Mapping[str, Array],
    rows: int,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Compared:
    """Run `one` with all `rows` of `inputs` at a time, and `several` from `threads` with as many between them, as the
    same callers would have it. Blocks. Raises what a run raises."""
    names = [spec.name for spec in one.signature.outputs]
    part = max(1, rows // threads)
    parts = {name: array[:part] for name, array in inputs.items()} if rows > 1 else inputs
    end = clock() + COMPARE_BUDGET_S
    several.run(parts, names)  # the first run of a size allocates
    rates: tuple[list[float], list[float]] = ([], [])
    while not rates[0] or clock() < end:
        rates[0].append(_runs_per_s(one, inputs, names, 1, clock) * rows)
        rates[1].append(_runs_per_s(several, parts, names, threads, clock) * part)
    return Compared(*rates)


def _runs_per_s(
    session: Session, inputs: Mapping[str, Array], names: Sequence[str], threads: int, clock: Callable[[], float]
) -> float:
    spans: list[tuple[float, float, int]] = []
    errors: list[WorkbenchError] = []
    start = threading.Barrier(threads)

    def runs() -> None:
        start.wait()
        began = now = clock()
        count = 0
        try:
            while now - began < WINDOW_S:
                session.run(inputs, names)
                now = clock()
                count += 1
        except WorkbenchError as error:
            errors.append(error)
        spans.append((began, now, count))

    workers = [threading.Thread(target=runs, name="infer-compare", daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    began, ended = min(span[0] for span in spans), max(span[1] for span in spans)
    return sum(span[2] for span in spans) / max(ended - began, 1e-9)
