"""Who calls with a share's token: held to the share's models, limits and time at each request.

What a head or a header block says is remembered with its caller, past the gate; so whatever may change between two
requests is asked here, each time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from workbench.core.messages import GUEST_PRIORITY, InferRequest
from workbench.errors import Forbidden, LimitExceeded, ModelNotFound, Unauthenticated
from workbench.server.gate.auth import Caller
from workbench.server.gate.scopes import SHARE_SCOPES, Scope
from workbench.share.daily_quota import DAY_S, DailyQuota, DailyUse
from workbench.share.rate_bucket import BURST_S, RateBucket
from workbench.share.share_record import ShareRecord
from workbench.telemetry.share_usage import ShareUsage

READS_AT_ONCE: Final = 32
"""Of what its models take, whatever the rate: a client reads a few answers before its first inference."""

MAX_SHARE_WATCHES: Final = 8
"""Streams of one share that tell of its models' health at once."""


since_boot: Final = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that no step of a clock changes, and that pass while the machine sleeps too, which a day does."""


class ShareCaller(Caller):
    """Belongs to the event loop."""

    __slots__ = (
        "_bucket",
        "_clock",
        "_counts_rows",
        "_ends_at",
        "_ends_at_wall",
        "_has_more_terms",
        "_id",
        "_models",
        "_on_first_call",
        "_on_use",
        "_quota",
        "_reads",
        "_rows",
        "_since_boot",
        "_wall",
        "record",
        "refused",
        "requests",
        "seen_at",
    )

    def __init__(
        self,
        record: ShareRecord,
        on_first_call: Callable[[ShareCaller], None] = lambda caller: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        on_use: Callable[[ShareCaller], None] = lambda caller: None,
        used: DailyUse | None = None,
    ) -> None:
        """`clock` is that of `enter`.

        `on_use` is called at the first request that counts for the quota after its use was noted; `used` is what
        was noted before this service began."""
        Caller.__init__(
            self,
            record.label,
            record.max_in_flight,
            SHARE_SCOPES | {Scope.METRICS} if record.metrics else SHARE_SCOPES,
            max_watches=MAX_SHARE_WATCHES,
            models=_models_of(record),
            revoked=record.revoked_at is not None,
            usage=ShareUsage(record.models),
            version=record.version,
            max_body=record.max_body,
        )
        self.record = record
        self.requests = 0
        """That were let in since the service started, inferences and others."""
        self.refused = 0
        """That were over a limit."""
        self.seen_at = 0.0
        """Unix time of the last request that was let in; 0: none yet."""
        self._id = record.id
        self._models = _models_of(record)
        self._on_first_call = on_first_call
        self._clock = clock
        self._wall = wall
        self._since_boot: Callable[[], float] = since_boot
        self._ends_at_wall = record.expires_at
        life_s = record.expires_at - record.created_at
        self._ends_at = clock() + min(record.expires_at - wall(), life_s)  # a clock may be behind that of its making
        self._bucket = None if record.rate is None else RateBucket(record.rate, clock())
        self._reads = None if record.rate is None else RateBucket(max(record.rate, 1.0), clock(), READS_AT_ONCE)
        self._rows = None if record.row_rate is None else RateBucket(record.row_rate, clock())
        self._quota: DailyQuota | None = None
        if record.quota is not None or record.row_quota is not None:
            self._quota = DailyQuota(record.quota, record.row_quota, since_boot(), wall(), used)
        self._on_use = on_use
        self._counts_rows = self._rows is not None or self._quota is not None
        self._has_more_terms = self._counts_rows or self.version is not None or record.first_call_at is None

    @property
    def expired(self) -> bool:
        """By the wall's clock or by the time that has passed, whichever is first: no step of a clock prolongs it."""
        return self._wall() >= self._ends_at_wall or self._clock() >= self._ends_at

    def check_time(self) -> None:
        if self.revoked or self.expired:
            raise self.ended()

    def check_model(self, model: str, version: str | None = None) -> None:
        if model in self.record.suspended:
            raise Forbidden(
                f"this token may not call model {model!r} any more, since its requests ended the service more than "
                "once; ask whoever shared it"
            )
        Caller.check_model(self, model, version)

    def lift(self, model: str) -> None:
        """Let it call a model again that it was suspended for."""
        left = {name: why for name, why in self.record.suspended.items() if name != model}
        self.record = dataclasses.replace(self.record, suspended=left)
        self.models = self._models = _models_of(self.record)

    def enter(self, now: float) -> None:
        wall = self._wall()
        if self.revoked or wall >= self._ends_at_wall or now >= self._ends_at:
            raise self.ended()
        if self.in_flight >= self.max_in_flight:
            self.refused += 1
            raise LimitExceeded(
                f"{self.in_flight} requests with this token are under way, as many as its share allows; try later",
                1.0,
                "in-flight",
                self.max_in_flight,
            )
        if self._quota is not None and (wait_s := self._quota.take(self._since_boot(), wall)):
            raise self._over_quota(self._quota.most_requests, "requests", wait_s)
        if (bucket := self._bucket) is not None and (wait_s := bucket.take(now)):
            if self._quota is not None:
                self._quota.give_back()
            raise self._over_rate(bucket, "requests", wait_s)
        if self._quota is not None:
            self._note_use(self._quota)
        self.requests += 1
        self.seen_at = wall
        self.in_flight += 1

    def pay(self) -> None:
        self.check_time()
        if self._reads is not None and (wait_s := self._reads.take(self._clock())):
            raise self._over_rate(self._reads, "reads", wait_s)
        self.requests += 1
        self.seen_at = self._wall()

    def confine(self, request: InferRequest, rows_of: Callable[[InferRequest], int]) -> None:
        if request.model not in self._models:
            self.check_model(request.model)
        if self._has_more_terms:
            self._confine_further(request, rows_of)
        request.priority = GUEST_PRIORITY  # behind the owner's, whatever was asked for
        request.caller = self._id
        if request.sequence is not None:  # nobody steps into another one's sequence
            request.sequence = dataclasses.replace(request.sequence, caller=self._id)

    def _confine_further(self, request: InferRequest, rows_of: Callable[[InferRequest], int]) -> None:
        """To what most shares do not have, so that they pay one look for all of it."""
        if self.version is not None:
            self.check_model(request.model, request.version)
            request.version = self.version
        if self._counts_rows:
            self._pay_rows(rows_of(request))
        if self.record.first_call_at is None:
            self.record = dataclasses.replace(self.record, first_call_at=self._wall())
            self._has_more_terms = self._counts_rows or self.version is not None
            self._on_first_call(self)

    def told(self, error: Exception) -> Exception:
        if isinstance(error, ModelNotFound):  # its message names other models
            return ModelNotFound("the model, or this version of it, is not served now; ask whoever shared it")
        return error

    def ended(self) -> Unauthenticated:
        return Unauthenticated(
            "this token's share was revoked or has expired; ask whoever shared the model for another"
        )

    def use(self) -> DailyUse | None:
        """What it used of the quota of this day; None: it has none."""
        return None if self._quota is None else self._quota.use(self._since_boot(), self._wall())

    def note_use(self) -> DailyUse | None:
        """The same, to be written down: `on_use` is called again at the next request."""
        if self._quota is not None:
            self._quota.noted = True
        return self.use()

    def _pay_rows(self, rows: int) -> None:
        """Of a request that was let in before it was decoded. Raises LimitExceeded."""
        quota = self._quota
        if quota is not None and (wait_s := quota.take_rows(self._since_boot(), self._wall(), rows)):
            self.requests -= 1
            raise self._over_quota(quota.most_rows, "rows", wait_s)
        if self._rows is not None and (wait_s := self._rows.take(self._clock(), rows)):
            self.requests -= 1
            if quota is not None:
                quota.give_back(rows)
            raise self._over_rate(self._rows, "rows", wait_s)
        if quota is not None:
            self._note_use(quota)

    def _note_use(self, quota: DailyQuota) -> None:
        if quota.noted:
            quota.noted = False
            self._on_use(self)

    def _over_rate(self, bucket: RateBucket, of: str, wait_s: float) -> LimitExceeded:
        self.refused += 1
        return LimitExceeded(
            f"this token has {bucket.rate:g} {of} a second, and they are used up; try again later",
            wait_s,
            of,
            bucket.burst,
            max(round(bucket.burst / bucket.rate), int(BURST_S)),
        )

    def _over_quota(self, quota: int | None, of: str, wait_s: float) -> LimitExceeded:
        self.refused += 1
        said = f"this token has {quota} {of} a day, and this is more than is left; the next day begins at 00:00 UTC"
        return LimitExceeded(said, wait_s, f"{of}-per-day", quota or 0, int(DAY_S))


def _models_of(record: ShareRecord) -> frozenset[str]:
    """Those that it may call now."""
    return frozenset(record.models) - record.suspended.keys()
