"""How calls without a version are split over several: by weight, at random or by a key that sticks. Pure.

The keys fall into SLOTS places by their hash. A version that gets a share of the calls holds spans of these places, and
the other places are the routed version's. A weight that grows takes further places of the routed version, and one that
shrinks gives its last ones back: so a key changes sides only where its side's weight shrinks, or where it goes from the
routed version to one whose weight grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TypeAlias

from workbench.errors import InvalidInput

SLOTS = 1_000_000

STEP = 618_033
"""From one call without a key to the next: nearly the golden section of SLOTS, and with no divisor of it, so that any
stretch of calls is split as evenly as can be, and each place comes once in SLOTS calls."""

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""Places from the first of each pair to before the second."""


def slot_of(name: str, key: str) -> int:
    """The place of a key among the calls of a model. By the model's name, so that not the same callers are the first
    of every model."""
    return int.from_bytes(blake2b(f"{name}\0{key}".encode(), digest_size=8).digest()) % SLOTS


def weight_of(spans: Spans) -> float:
    return sum(end - begin for begin, end in spans) / SLOTS


def checked_weights(weights: Mapping[str, float], routed: str) -> dict[str, float]:
    """The weights of the versions other than the routed one, without those of 0. InvalidInput where one is not from 0
    to 1, or all of them are more than 1."""
    for version, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise InvalidInput(f"the weight of version {version} must be from 0 to 1 (0 % to 100 %), got {weight!r}")
    total = math.fsum(weights.values())
    if round(total * SLOTS) > SLOTS:
        told = " and ".join(f"{_percent(weight)} for version {version}" for version, weight in weights.items())
        raise InvalidInput(f"the weights are {told}: {_percent(total)} together, and at most 100 % can be given")
    if routed in weights and round(total * SLOTS) != SLOTS:
        raise InvalidInput(
            f"version {routed} is routed to and gets what the others leave, {_percent(1 - total + weights[routed])}: "
            f"leave its weight out, or give weights of 100 % together"
        )
    return {version: weight for version, weight in weights.items() if version != routed and round(weight * SLOTS)}


def spread(spans: Mapping[str, Spans], weights: Mapping[str, float]) -> dict[str, Spans]:
    """The places of each version by its new weight: as many as can be where they were."""
    wanted = {version: round(weight * SLOTS) for version, weight in weights.items()}
    after = {version: _first(spans.get(version, ()), count) for version, count in wanted.items()}
    free = _free([span for held in after.values() for span in held])
    for version, count in wanted.items():
        missing = count - sum(end - begin for begin, end in after[version])
        taken = _first(free, missing)
        after[version] = _joined((*after[version], *taken))
        free = _free([span for held in after.values() for span in held])
    return {version: held for version, held in after.items() if held}


def are_sound(spans: Mapping[str, Spans]) -> bool:
    """Whether these are places, and none is held twice."""
    at = 0
    for begin, end in sorted(span for held in spans.values() for span in held):
        if not at <= begin < end:
            return False
        at = end
    return at <= SLOTS


def side_of(spans: Mapping[str, Spans], slot: int) -> str | None:
    """The version that a place belongs to; None: the routed one."""
    for version, held in spans.items():
        for begin, end in held:
            if begin <= slot < end:
                return version
    return None


def _first(spans: Sequence[tuple[int, int]], count: int) -> Spans:
    found = []
    for begin, end in spans:
        if count <= 0:
            break
        found.append((begin, min(end, begin + count)))
        count -= end - begin
    return tuple(found)


def _free(taken: Sequence[tuple[int, int]]) -> Spans:
    found, at = [], 0
    for begin, end in sorted(taken):
        if begin > at:
            found.append((at, begin))
        at = max(at, end)
    if at < SLOTS:
        found.append((at, SLOTS))
    return tuple(found)


def _joined(spans: Spans) -> Spans:
    """In the order in which they were taken, with neighbours made one."""
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return tuple(found)


def _percent(weight: float) -> str:
    return f"{weight * 100:g} %"
