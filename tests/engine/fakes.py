"""A Session and an Observer to see through, and a clock that is moved by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from workbench.config import ModelConfig
from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import FREE, ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.ports import Outcome
from workbench.core.tensor import Array
from workbench.errors import ExecutionError, InvalidInput

SIGNATURE = Signature((TensorSpec("x", "FP32", (FREE, FREE)),), (TensorSpec("y", "FP32", (FREE, FREE)),))
"""With a free inner axis, so that runs never go on the event loop, where a held one would hold the test."""

STEADY = Signature((TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 2)),))
"""With one shape only: such short runs go on the event loop."""


class FakeSession:
    """y = function(x). While `gate` is cleared every run waits inside, so that a test decides when runners are busy.

    `batches` lists the rows of each run since it was Ready. A row that holds 666 makes its whole run fail.
    """

    platform = "fake"
    device = "cpu"
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        function: Callable[[Array], Array] = lambda x: x + 1,
        signature: Signature = SIGNATURE,
        runner_threads: int = 0,
    ) -> None:
        self.function = function
        self.signature = signature
        self.runner_threads = runner_threads
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []
        self.closed = 0
        self.gone = threading.Event()

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        x = inputs["x"]
        self.batches.append(len(x))
        self.entered.release()
        assert self.gate.wait(30)
        if (x == 666).any():
            raise InvalidInput("the model does not take 666")
        return [self.function(x) for _ in outputs]

    def close(self) -> None:
        self.closed += 1
        self.gone.set()

    def hold(self) -> None:
        """From now on runs wait inside until `gate` is set; forgets the runs before."""
        self.gate.clear()
        self.batches.clear()
        while self.entered.acquire(blocking=False):
            pass


class EndedSession(FakeSession):
    """One whose runs can be ended from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        result = super().run(inputs, outputs)
        if self.told:
            self.told.clear()
            self.gate.clear()
            raise ExecutionError("terminate flag")
        return result

    def interrupt(self, thread: int) -> None:
        self.told.append(thread)
        self.gate.set()


class Opener:
    """Hands out the sessions it was given, by file name, or one for all."""

    def __init__(self, *sessions: FakeSession) -> None:
        self.sessions = list(sessions)
        self.opened: list[FakeSession] = []

    def __call__(self, path: Path, config: ModelConfig, *, instances: int) -> FakeSession:
        session = self.sessions[min(len(self.opened), len(self.sessions) - 1)]
        self.opened.append(session)
        return session


class Recorder:
    """An Observer that keeps all it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Outcome, Timings | None]] = []
        self.batches: list[tuple[int, int, ReleaseReason]] = []
        self.states: list[tuple[str, ModelState]] = []

    def request_done(self, model: str, version: str, outcome: Outcome, timings: Timings | None) -> None:
        self.requests.append((model, version, outcome, timings))

    def answered(
        self, model: str, version: str, queued_s: Sequence[float], batched_s: float, ran_s: float, split_s: float
    ) -> None:
        for waited_s in queued_s:
            self.request_done(model, version, Outcome.OK, Timings(waited_s, batched_s, ran_s, split_s))

    def batch_done(
        self, model: str, version: str, rows: int, requests: int, reason: ReleaseReason, ran_s: float
    ) -> None:
        self.batches.append((rows, requests, reason))

    def model_changed(self, status: ModelStatus) -> None:
        if not self.states or self.states[-1] != (status.version, status.state):
            self.states.append((status.version, status.state))

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for _, _, outcome, _ in self.requests]


def rows(*values: float) -> Array:
    """One row of two equal numbers for each value."""
    return np.array([[value, value] for value in values], dtype=np.float32)
