"""Copies of calls for a shadow: taken once the caller has its answer, run when there is time, and compared.

A `ShadowRoute` stands in the routing table before what answers calls without a version. The caller's call goes on as
without it. A copy is made of what the call held, after its answer was handed over; it waits in memory, within bounds,
until the routed version has a runner to spare, and is dropped where that does not come soon. It is in no figure, share,
cache or circuit breaker of either version.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from workbench.core.messages import InferRequest, InferResponse
from workbench.core.shadow_figures import DropReason, ShadowExample, ShadowFigures
from workbench.core.tensor import Array, memory_bytes
from workbench.core.version_plan import ShadowPlan
from workbench.engine.admission import Admitted
from workbench.engine.copy_lane import CopyLane
from workbench.engine.deployment import Deployment
from workbench.engine.executor import Done
from workbench.engine.request_queue import Completion, PendingRequest
from workbench.engine.served import Served
from workbench.errors import WorkbenchError
from workbench.versions.copy_pace import CopyPace
from workbench.versions.route_counts import Accepting
from workbench.versions.shadow_differences import Compared, ShadowDifferences, compare
from workbench.versions.shadow_sample import ShadowSample
from workbench.versions.split_router import key_of
from workbench.versions.traffic_split import SLOTS

log = logging.getLogger("workbench.engine")

MOST_WAITING = 256
"""Copies of one shadow that wait; further calls are not copied."""

MOST_BYTES = 64 << 20
"""What copies that wait may take, of all shadows together."""

LONGEST_WAIT_S = 10.0
"""Seconds after which a copy that could not run is dropped."""

GATHER_S = 1e-3
"""From the first copy until one looks whether there is time to run: others join it meanwhile."""

LOOK_S = 5e-3
"""Until one looks again where there was none."""


class CopyBudget:
    """The memory of copies that wait, of all shadows of an engine."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self.held = 0

    def take(self, size: int) -> bool:
        if self.held + size > self._most:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        self.held -= size


class ShadowRoute:
    """Stands in the routing table before what answers."""

    __slots__ = ("_answering", "_traffic")

    def __init__(self, answering: Accepting, traffic: ShadowTraffic) -> None:
        self._answering = answering
        self._traffic = traffic

    def submit(self, request: InferRequest, promise: Completion, /) -> None:
        """As what answers does it, which also raises what it raises."""
        if self._traffic.takes(request):
            promise = _Observed(request, promise, self._traffic)
        self._answering.submit(request, promise)


class ShadowTraffic:
    """The copies that one version gets beside another one. Belongs to the event loop's thread."""

    def __init__(
        self,
        plan: ShadowPlan,
        routed: Served,
        shadow: Deployment,
        budget: CopyBudget,
        clock: Callable[[], float],
    ) -> None:
        self.routed = routed
        self.shadow = shadow
        self._plan = plan
        self._budget = budget
        self._clock = clock
        self._since = time.time()
        self._sample = ShadowSample(routed.name, plan.part, random.randrange(SLOTS))
        self._pace = CopyPace()
        self._found = ShadowDifferences(plan.keep_rows)
        self._waiting: deque[_Copy] = deque()
        self._running: list[_Copy] = []
        self._run_failed = False
        self._lane: CopyLane | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._compared = self._failed = 0
        self._dropped: Counter[str] = Counter()
        self._last_error = ""
        self._closed = False

    def configure(self, plan: ShadowPlan) -> None:
        """Another part, key or number of examples from now on; what was found so far stays."""
        if plan != self._plan:
            self._plan = plan
            self._sample = ShadowSample(self.routed.name, plan.part, random.randrange(SLOTS))
            self._found.keep(plan.keep_rows)

    def takes(self, request: InferRequest) -> bool:
        """Whether to `offer` the request with its answer."""
        self._pace.called(self._clock())
        if request.sequence is not None or not self._sample.takes(key_of(request, self._plan.by)):
            return False
        if len(self._waiting) >= MOST_WAITING:
            self._dropped[DropReason.BUSY] += 1
            return False
        return True

    def offer(self, request: InferRequest, response: InferResponse) -> None:
        """A call that `takes` chose has its answer."""
        if self._closed or response.version != self.routed.version:  # or another side of a split answered
            return
        if response.timings.ran_s:
            self._pace.answered(response.timings.ran_s)
        answer, size = _held(response.outputs)
        size += sum(memory_bytes(array) for array in request.inputs.values())
        if not self._budget.take(size):
            self._dropped[DropReason.LARGE if not self._budget.held else DropReason.BUSY] += 1
            return
        # Not the request itself, which keeps its caller and its connection alive.
        asked = InferRequest(request.model, request.inputs, self.shadow.version, tuple(answer))
        self._waiting.append(_Copy(asked, answer, self._clock(), size, self))
        if self._timer is None and not self._running:
            self._look_in(GATHER_S)

    def figures(self) -> ShadowFigures:
        plan = self._plan
        return ShadowFigures(
            model=self.routed.name,
            version=self.shadow.version,
            beside=self.routed.version,
            part=plan.part,
            since=self._since,
            by=plan.by,
            keep_rows=plan.keep_rows,
            compared=self._compared,
            failed=self._failed,
            dropped=dict(self._dropped),
            waiting=len(self._waiting) + len(self._running),
            last_error=self._last_error,
            rows=self._found.rows,
            differing=self._found.differing,
            outputs=self._found.outputs(),
            examples=self._found.kept,
        )

    def examples(self) -> list[ShadowExample]:
        """The rows that are kept, the worst first."""
        return self._found.examples()

    def close(self) -> None:
        """Copy nothing more, and forget what waits; a run under way ends unheard."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for copies in (self._waiting, self._running):
            for each in copies:
                self._budget.give(each.size)
            copies.clear()
        self.shadow.end_copies()

    # When copies run

    def _look_in(self, wait_s: float) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock()
        waiting = self._waiting
        while waiting and now - waiting[0].since > LONGEST_WAIT_S:
            self._drop(waiting.popleft(), DropReason.BUSY)
        if self._running or not waiting:
            return
        wait_s = self._pace.wait_s(now)
        if not wait_s and not self.routed.has_spare_runner:
            wait_s = LOOK_S
        if wait_s:
            self._look_in(min(wait_s, LONGEST_WAIT_S))
        else:
            self._run(now)

    def _run(self, now: float) -> None:
        """Have the next copies run together, as many as the pace allows and as fit one batch."""
        tickets: list[PendingRequest] = []
        rows = 0
        waiting = self._waiting
        while waiting and len(tickets) < self._pace.copies:
            copy = waiting[0]
            admitted = self._admitted(copy)
            if admitted is None:
                waiting.popleft()
                continue
            if tickets and (
                rows + admitted.rows > self.shadow.max_batch_size
                or (admitted.key, admitted.outputs) != (tickets[0].key, tickets[0].outputs)
            ):
                break
            waiting.popleft()
            rows += admitted.rows
            tickets.append(PendingRequest(copy.request, copy, admitted.rows, admitted.key, admitted.outputs, now))
            self._running.append(copy)
        if not tickets:
            self._look_in(GATHER_S)
            return
        if self._lane is None:
            self._lane = self.shadow.open_lane(self._ran)
        self._run_failed = False
        self._lane.submit(tickets)

    def _admitted(self, copy: _Copy) -> Admitted | None:
        """None: the shadow does not take it, and it is dropped."""
        try:
            return self.shadow.admitted(copy.request)
        except WorkbenchError as error:
            self._last_error = error.message
            self._drop(copy, DropReason.REFUSED)
            return None

    def _ran(self, done: Done) -> None:
        """On the lane's thread: compare, and hand what was found to the event loop."""
        answers, error = [], ""
        for ticket, answer in zip(done.tickets, done.answers, strict=True):
            copy = ticket.promise
            assert isinstance(copy, _Copy)
            if isinstance(answer, WorkbenchError):
                error = answer.message
            else:
                answers.append((copy.request.inputs, copy.answer, answer))
        try:
            found = compare(answers, self._found.keep_rows, self._found.worse_than)
        except Exception as raised:  # ours; the service goes on
            log.exception("answers of a shadow of model %r could not be compared", self.routed.name)
            found, answers, error = Compared(), [], f"comparing failed: {type(raised).__name__}"
        spent_s = self._clock() - done.formed_at
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._add, done, found, len(answers), error, spent_s)
        except RuntimeError:
            pass  # the loop is closed

    def _add(self, done: Done, found: Compared, compared: int, error: str, spent_s: float) -> None:
        if self._closed:
            return
        ended = [ticket.promise for ticket in done.tickets] + [ticket.promise for ticket, _ in done.dropped]
        for copy in ended:
            if copy in self._running:
                assert isinstance(copy, _Copy)
                self._running.remove(copy)
                self._budget.give(copy.size)
        self._found.add(found)
        self._compared += compared
        self._failed += len(done.tickets) - compared
        if error:
            self._last_error, self._run_failed = error, True
        if self._running:
            return
        self._pace.ran(max(1, compared), spent_s, self._clock(), self._run_failed and not compared)
        if self._waiting and self._timer is None:
            self._look()

    def _drop(self, copy: _Copy, reason: str) -> None:
        self._dropped[reason] += 1
        self._budget.give(copy.size)


class _Copy(msgspec.Struct, eq=False):
    """A call to be made again: what it asked, and what its caller got. The Completion of its own run."""

    request: InferRequest
    answer: Mapping[str, Array]
    since: float
    size: int
    traffic: ShadowTraffic

    def done(self) -> bool:
        return False

    def set_result(self, result: InferResponse, /) -> None: ...

    def set_exception(self, exception: WorkbenchError, /) -> None: ...


class _Observed:
    """The completion of a caller's call whose answer is to be compared. It adds nothing before the caller has it."""

    __slots__ = ("_promise", "_request", "_traffic")

    def __init__(self, request: InferRequest, promise: Completion, traffic: ShadowTraffic) -> None:
        self._request = request
        self._promise = promise
        self._traffic = traffic

    def done(self) -> bool:
        return self._promise.done()

    def set_result(self, result: InferResponse, /) -> None:
        self._promise.set_result(result)
        self._traffic.offer(self._request, result)

    def set_exception(self, exception: WorkbenchError, /) -> None:
        self._promise.set_exception(exception)


def _held(outputs: Mapping[str, Array]) -> tuple[Mapping[str, Array], int]:
    """Outputs that hold no more than themselves: those that are a small part of a batch's are copied."""
    held, size = {}, 0
    for name, array in outputs.items():
        base = array.base
        if isinstance(base, np.ndarray) and base.nbytes > 2 * array.nbytes:
            array = array.copy()
        held[name] = array
        size += memory_bytes(array)
    return held, size
