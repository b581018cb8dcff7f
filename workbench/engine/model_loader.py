"""From a model's file to sessions that are ready to run: open, warm up, and decide how many runners it is to have."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.config import ModelConfig
from workbench.core.batch_proof import BatchProof
from workbench.core.cores import usable_cores
from workbench.core.ports import Session
from workbench.engine.batch_policy import allowed_sizes
from workbench.engine.costs import fastest_size
from workbench.engine.implicit_state import ImplicitState, SequenceSession
from workbench.engine.reshape_adapter import ReshapeAdapter, reshaped
from workbench.engine.runners import RunnerLayout, chosen_by_hand, compare, set_layout, why_not_compare
from workbench.engine.sources import ModelSource
from workbench.engine.warmup import WarmUp, doubling, measure, warm_up
from workbench.engine.warmup_requests import run_warmup_requests
from workbench.errors import WorkbenchError
from workbench.repository.layout import TRITON_FILE
from workbench.runtimes.first_run import made_up_rows
from workbench.runtimes.registry import Opener


@dataclass(frozen=True, slots=True)
class Warm:
    """The result of a warm-up, and what was decided by it."""

    found: WarmUp
    layout: RunnerLayout
    why: str
    """Why it has so many runners, in words."""
    notes: tuple[str, ...] = ()
    """What of its configuration is not honoured, what of the warm-up requests there did not run, what would have the
    model batched, and why no run was tried."""


class ModelLoader:
    """One load of a model. `open`, then `warm`, on a thread: both block. `sessions` are those to be closed, always."""

    def __init__(self, source: ModelSource, config: ModelConfig, open_session: Opener, cores: int = 0) -> None:
        """`cores` of the CPU that runs may use; 0: all that this process may."""
        self.sessions: list[Session] = []
        self.states: ImplicitState | None = None
        """Of a model that keeps state between requests, once it is open."""
        self._source = source
        self._config = config
        self._open_session = open_session
        self._cores = cores or usable_cores()
        self._load_s = 0.0
        self._reshaped = False

    def open(self) -> Session:
        """The first of the sessions. Raises ModelError."""
        layout = set_layout(self._config, self._cores)
        began = time.perf_counter()
        first = self._opened(layout.runners)
        self._load_s = time.perf_counter() - began
        if first.device != "cpu" and not chosen_by_hand(self._config):
            layout = RunnerLayout(1, 1)
        while first.runner_threads and len(self.sessions) * first.runner_threads < layout.runners:
            self._opened(layout.runners)
        return first

    def warm(self) -> Warm:
        warm = self._warm()
        notes = (*self._batching_notes(warm.found), *run_warmup_requests(self.sessions, self._source.described))
        return dataclasses.replace(warm, notes=notes)

    def _batching_notes(self, found: WarmUp) -> Iterator[str]:
        """What its configuration asks in vain, what would help, and why its run times are not known yet."""
        said = self._source.described.triton
        if said.batched and not found.batched and self._config.batching != "never":
            size, why = said.settings.get("max_batch_size"), found.reason.removeprefix("unbatched: ")
            yield f"{TRITON_FILE}: max_batch_size {size} is not honoured, requests run one by one: {why}"
        if found.advice:
            yield found.advice
        if found.untried:
            learnt = "" if found.ran else "; whether it runs shows with the first request"
            yield f"its run times were not tried ahead, since {found.untried}{learnt}"

    def _warm(self) -> Warm:
        config, first = self._config, self.sessions[0]
        sizes = allowed_sizes(config.batch_sizes, config.max_batch_size)
        proof, promised = self._source.graph.batch, self._source.described.triton.batched
        promised = promised or proof.declared
        if self._reshaped and not promised:
            proof = BatchProof(reason="its config.pbtxt reshapes the first axis too")
        found = warm_up(first, config.batching, config.max_batch_size, proof, sizes=sizes, promised=promised)
        layout = set_layout(config, self._cores)
        if first.device != "cpu":
            layout = RunnerLayout(len(self.sessions) * max(1, first.runner_threads), 1)
        if found.free_size is None:
            return Warm(found, layout, "")
        rows = fastest_size(found.run_s, config.max_batch_size) if found.run_s else 1
        run_s = found.run_s.get(rows) or measure(first, found.free_size, (1,)).run_s.get(1, 0.0)
        if not self._source.runtime.more_runners:
            return Warm(found, layout, "as its settings say")
        why = why_not_compare(config, first.device, self._cores, self._source.size_bytes, self._load_s, run_s)
        return Warm(found, layout, why) if why else self._compared(found, layout, rows)

    def _compared(self, found: WarmUp, layout: RunnerLayout, rows: int) -> Warm:
        """The better of one runner with all cores and one a core; the session of the other is closed."""
        assert found.free_size is not None
        one, other = self.sessions[0], RunnerLayout(self._cores, 1)
        try:
            several = self._opened(other.runners)
            inputs = made_up_rows(one, rows, found.free_size)
            rates = compare(one, several, inputs, rows, other.runners)
        except WorkbenchError:
            for session in self.sessions[1:]:
                self._close(session)
            return Warm(found, layout, "comparing it with more failed")
        one_rate, several_rate = max(rates.one), max(rates.several)
        self._close(one if rates.several_better else several)
        if not rates.several_better:
            return Warm(found, layout, f"{one_rate:.0f} rows/s measured, {several_rate:.0f} with {other}")
        if found.run_s:
            sizes = allowed_sizes(self._config.batch_sizes, self._config.max_batch_size)
            sizes = sizes or tuple(doubling(self._config.max_batch_size))
            found = dataclasses.replace(found, run_s=measure(several, found.free_size, sizes).run_s)
        return Warm(found, other, f"{several_rate:.0f} rows/s measured, {one_rate:.0f} with {layout}")

    def _opened(self, instances: int) -> Session:
        session = self._open_session(self._source.path, self._config, instances=instances)
        self.sessions.append(session)
        self._source.check_unchanged()
        described = self._source.described
        session = reshaped(session, described.triton)
        self._reshaped = isinstance(session, ReshapeAdapter)
        if described.triton.sequences is not None:
            self.states = self.states or ImplicitState(described, session.signature)
            session = SequenceSession(session, self.states)
        self.sessions[-1] = session
        return session

    def _close(self, session: Session) -> None:
        self.sessions.remove(session)
        session.close()
