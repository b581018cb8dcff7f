"""Sends the calls of one model that name no version to several versions, by weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.errors import CircuitOpen, InvalidInput
from workbench.versions.route_counts import Accepting, RouteCounts, Way
from workbench.versions.traffic_split import SLOTS, STEP, Spans, side_of, slot_of

SIDE: Final = "route"
"""The parameter of a request that names the version, or a label of one, that it is to go to."""

KEY: Final = "route_key"
"""The parameter whose value always goes to the same side, whatever the split itself goes by."""

BY_SHARE: Final = "share"
"""Of `by`: by the share that a call comes with."""


class Routable(Protocol):
    """One version of one model, as far as routing knows it."""

    name: str
    version: str
    state: ModelState

    def submit(self, request: InferRequest, promise: Any, /) -> None: ...


Target = TypeVar("Target", bound=Routable)


class Split(Generic[Target]):
    """Stands in the routing table where a model's routed version would. Belongs to the event loop."""

    __slots__ = ("_at", "_by", "_counts", "_routed", "_sides", "_spans", "_way")

    def __init__(
        self,
        routed: Target,
        weighted: Mapping[str, tuple[Target, Spans]],
        by: str = "",
        labels: Mapping[str, str] | None = None,
        start: int = 0,
        counts: RouteCounts | None = None,
        way: Way = Way.SPLIT,
    ) -> None:
        """`weighted` holds the versions beside the routed one, and their places. `by`: a call's side is that of this
        parameter's value, or of the share that it comes with; empty, or where it has neither: at random. `labels`
        name versions, too. `start` is where the sequence of random places begins. `counts` counts what
        a version got by the weights, as `way`, or since a request asked for it."""
        self._routed = routed
        self._spans = {version: spans for version, (_, spans) in weighted.items()}
        sides = {routed.version: routed, **{version: target for version, (target, _) in weighted.items()}}
        self._sides = {**sides, **{label: sides[each] for label, each in (labels or {}).items() if each in sides}}
        self._by = by
        self._at = start % SLOTS
        self._counts = counts if counts is not None else RouteCounts()
        self._way = way

    def choose(self, key: str | None = None) -> Target:
        """The version of a key, always the same one, or without a key of the next place."""
        if key is None:
            slot = self._at = (self._at + STEP) % SLOTS
        else:
            slot = slot_of(self._routed.name, key)
        side = side_of(self._spans, slot)
        return self._routed if side is None else self._sides[side]

    def side(self, named: object) -> Target:
        """The version that a request asks for. InvalidInput for one that gets none of the calls."""
        target = self._sides.get(str(named))
        if target is None:
            sides = ", ".join(sorted(self._sides))
            raise InvalidInput(
                f"the parameter {SIDE} asks for {str(named)[:40]!r}, and the calls of model {self._routed.name!r} go "
                f"to {sides}"
            )
        return target

    def submit(self, request: InferRequest, promise: Any, /) -> None:
        """As the version that is chosen does it. Where its circuit breaker is open, the routed version answers."""
        parameters = request.parameters
        target = self.side(parameters[SIDE]) if SIDE in parameters else self.choose(key_of(request, self._by))
        if SIDE in parameters or KEY in parameters:  # they change which version answers, and nothing of the answer
            request.parameters = {name: value for name, value in parameters.items() if name not in (SIDE, KEY)}
        try:
            target.submit(request, promise)
        except CircuitOpen:
            if target is self._routed or SIDE in parameters:
                raise
            target = self._routed
            target.submit(request, promise)
        self._counts.count(target.name, target.version, Way.FORCED if SIDE in parameters else self._way)


class SplitByShare(Generic[Target]):
    """Stands before what takes a model's calls without a version, where the calls of some shares go by their own
    split."""

    __slots__ = ("_others", "_splits")

    def __init__(self, others: Accepting, splits: Mapping[str, Split[Target]]) -> None:
        """`splits` by the id of a share; `others` takes all other calls."""
        self._others = others
        self._splits = splits

    def submit(self, request: InferRequest, promise: Any, /) -> None:
        """As what the call goes by does it."""
        split = self._splits.get(request.caller)
        (self._others if split is None else split).submit(request, promise)


def key_of(request: InferRequest, by: str) -> str | None:
    """The key of a call: by the parameter `by` or else its share, unless it brings its own; None: it has none."""
    parameters = request.parameters
    key = parameters.get(KEY) if parameters else None
    if by and key is None:
        key = None if by == BY_SHARE else parameters.get(by)
        key = request.caller or None if key is None else key
    return None if key is None else str(key)
