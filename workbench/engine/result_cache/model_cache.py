"""The result cache of one load of one model: it stands before the batcher, and takes what it can answer.

It belongs to the load, so a swapped version has a cache of its own, and an unload drops what was kept. Only answers of
runs that went well are kept, each by a copy. All methods belong to the event loop's thread.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from workbench.core.cache_figures import CacheFigures
from workbench.core.messages import CacheUse, InferRequest, InferResponse, Timings
from workbench.core.ports import Observer, Outcome
from workbench.engine.admission import Admission, Admitted
from workbench.engine.request_queue import Completion
from workbench.engine.result_cache.cache_worth import CALLS_JUDGED, CacheWorth
from workbench.engine.result_cache.flight import Flight, Flights
from workbench.engine.result_cache.remote_answers import Found, RemoteAnswers
from workbench.engine.result_cache.request_key import SECRET_BYTES, RequestKeys
from workbench.engine.result_cache.result_store import KeptAnswer, ResultStore
from workbench.errors import WorkbenchError

RANDOM_OPERATORS: Final = frozenset(
    {
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("BiasDropout", "BitmaskBiasDropout", "BitmaskDropout", "Sampling"),
    }
)
"""The operators that give other values at each run, whatever their seed. Dropout is not among them, since exported
models have it as it is outside training, where it changes nothing."""

log = logging.getLogger("workbench.engine")


def why_uncached(operators: Collection[str], keeps_state: bool) -> str:
    """Why the answers of a model with these operators are never kept; empty: they may be."""
    if keeps_state:
        return "the model keeps state between requests, so equal ones have different answers"
    if random := sorted(RANDOM_OPERATORS.intersection(operators)):
        return f"its operator {random[0]} gives other values at each run"
    return ""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    limit_bytes: int
    ttl_s: float
    shared: bool = False
    """Answers to one caller are given to others too; else each share has its own."""


class ResultCache:
    """Answers requests of one model, or has them run by `run`, which is the model's `submit`."""

    def __init__(
        self,
        name: str,
        version: str,
        run: Callable[[InferRequest, Completion], None],
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self.run = run
        self.clock = clock
        self._name = name
        self._version = version
        self._observer = observer
        self._secret = secrets.token_bytes(SECRET_BYTES)
        self._settings = CacheSettings(0, 0.0)
        self._epoch = ""
        self._keys = RequestKeys(self._secret, name, version, "")
        self._admission: Admission | None = None
        self._store = ResultStore(0, 0.0)
        self._flights = Flights(self)
        self._worth = CacheWorth()
        self._remote: RemoteAnswers | None = None
        self._hits = self._joined = self._misses = self._found_remote = 0
        self._saved_s = 0.0

    def configure(
        self, settings: CacheSettings, admission: Admission, epoch: str, remote: RemoteAnswers | None = None
    ) -> None:
        """Keep what is kept, unless another `epoch` says that the model answers otherwise than before. `remote` is
        the second level."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._keys = RequestKeys(self._secret, self._name, self._version, epoch)
            self._store.clear()
            self._remote = remote
        if settings != self._settings:
            self._settings = settings
            self._store.configure(settings.limit_bytes, settings.ttl_s, self.clock())
            self._worth = CacheWorth()
        self._admission = admission

    def takes(self, request: InferRequest, promise: Completion) -> bool:
        """Answer the request, or have it answered by an equal one that is under way, or run it and keep its answer.

        False: it goes on as without a cache. Raises what the model's `submit` raises.
        """
        # What was sent on its way by this cache comes back here, through the model's own submit.
        if type(promise) is Flight or request.sequence is not None or not self._worth.looks():
            return False
        now = self.clock()
        if request.deadline is not None and now >= request.deadline:
            return False
        assert self._admission is not None
        try:
            admitted = self._admission.admit(request)
        except WorkbenchError:
            return False  # the model's own submit then says what is wrong with it
        key = self._keys.key(request, admitted.outputs, self._scope(request))
        if key is None:
            return False
        kept = self._store.get(key, now)
        if kept is not None:
            self._hits += 1
            self._saved_s += kept.cost_s
            self._judge(True)
            self._answer(request, promise, kept, admitted.rows)
        elif self._flights.join(key, request, promise, now):
            self._judge(True)
        else:
            remote = self._remote
            if remote is None or not remote.pays or not remote.shared.ready():
                self._judge(False)
                self._flights.start(key, request, promise, now)
                self._misses += 1
            else:
                flight = self._flights.look(key, request, promise, now)
                self._look(remote, flight, admitted)
        return True

    def _look(self, remote: RemoteAnswers, flight: Flight, admitted: Admitted) -> None:
        request, began = flight.waiting[0].request, self.clock()
        key = remote.key(request, admitted.outputs, self._scope(request))
        assert key is not None  # as its other key was not

        def done(found: Found | None) -> None:
            self._judge(found is not None)
            if found is None:
                self._misses += 1
                self._flights.found(flight, None)
                return
            outputs, cost_s = found
            self._found_remote += 1
            self._saved_s += cost_s
            now = self.clock()
            timings = Timings(now - began, rows=admitted.rows, cache=CacheUse.REMOTE)
            if self._epoch:
                self._store.put(flight.key[0], outputs, cost_s, now)
            self._flights.found(
                flight, InferResponse(self._name, self._version, outputs, request.id, timings, self._epoch)
            )

        remote.get(key, admitted.outputs, done)

    def _scope(self, request: InferRequest) -> str | None:
        return None if self._settings.shared else request.caller

    def _answer(self, request: InferRequest, promise: Completion, kept: KeptAnswer, rows: int) -> None:
        if promise.done():
            self.count(Outcome.CANCELLED)
            return
        timings = Timings(rows=rows, cache=CacheUse.HIT)
        self.count(Outcome.OK)
        try:
            promise.set_result(InferResponse(self._name, self._version, kept.outputs, request.id, timings, self._epoch))
        except Exception:  # a transport's fault
            log.exception("a request's answer could not be handed over")

    def _judge(self, hit: bool) -> None:
        if self._worth.found(hit):
            log.warning("the cache of model %r version %s rests: %s", self._name, self._version, self._note())

    def _note(self) -> str:
        if not self._worth.resting:
            return ""
        return (
            f"{self._worth.last_hits} of the last {CALLS_JUDGED} calls that were looked for were found, so the next "
            f"{self._worth.resting} go past it; where rows do not repeat, %infer set {self._name} cache=off ends it"
        )

    def figures(self) -> CacheFigures:
        return CacheFigures(
            self._hits,
            self._joined,
            self._misses,
            self._store.evicted,
            self._store.expired,
            len(self._store),
            self._store.size_bytes,
            self._store.limit_bytes,
            self._saved_s,
            remote=self._found_remote,
            remote_note=self._remote.shared.reason if self._remote is not None else "",
            note=self._note(),
        )

    def close(self) -> None:
        """Drop what is kept, and keep nothing more; flights under way end as they would have. The model must still
        take requests: those that are looked for elsewhere are run now."""
        self._epoch = ""
        self._store.clear()
        self._flights.run_all()

    # Implements flight.FlightOwner

    def keep(self, flight: Flight, response: InferResponse) -> None:
        timings, joined = response.timings, len(flight.waiting) - 1
        cost_s = timings.ran_s * timings.rows / max(1, timings.batch_size)
        self._joined += joined
        self._saved_s += joined * cost_s
        if response.epoch != self._epoch:  # another version stood in, or answers differ from now on
            return
        self._store.put(flight.key[0], response.outputs, cost_s, self.clock())
        remote = self._remote
        if remote is not None:
            remote.ran(timings.ran_s)
            if remote.pays and remote.shared.ready():
                request = flight.waiting[0].request
                key = remote.key(request, tuple(response.outputs), self._scope(request))
                assert key is not None
                remote.put(key, response.outputs, cost_s, self._settings.ttl_s)

    def count(self, outcome: Outcome) -> None:
        self._observer.request_done(self._name, self._version, outcome, None)
