"""Which calls a shadow gets a copy of: a part of them, as evenly as can be, or by a key that sticks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.core.model import check_model_version
from workbench.core.shadow_figures import MOST_KEPT_ROWS
from workbench.core.version_plan import ShadowPlan
from workbench.errors import InvalidInput
from workbench.versions.traffic_split import SLOTS, STEP, slot_of


def check_shadow(shadow: ShadowPlan) -> None:
    """InvalidInput for a part that is none, or too many examples."""
    check_model_version(shadow.version)
    part = shadow.part
    if isinstance(part, bool) or not 0 < part <= 1:
        raise InvalidInput(f"the part of the calls that is copied must be from 0 to 1 (0 % to 100 %), got {part!r}")
    _check_keep_rows(shadow.keep_rows)


def shadow_asked(asked: Mapping[str, float], by: str, keep_rows: int) -> ShadowPlan | None:
    """The shadow of {"2": 0.25}; None where it is to end: {} or a part of 0. InvalidInput for several, or too many
    examples."""
    for version, part in asked.items():
        if isinstance(part, bool) or not 0 <= part <= 1:
            raise InvalidInput(f"the part of version {version[:20]} must be from 0 to 1 (0 % to 100 %), got {part!r}")
    given = {version: part for version, part in asked.items() if part}
    if len(given) > 1:
        raise InvalidInput(f"one version can be the shadow of a model, and these are {len(given)}: {', '.join(given)}")
    for version, part in given.items():
        _check_keep_rows(keep_rows)
        return ShadowPlan(version, part, by, keep_rows)
    if keep_rows:
        raise InvalidInput("keep_rows (--keep-rows) goes with a shadow, as shadow={'2': 0.25} (--shadow v2=25%)")
    return None


def _check_keep_rows(keep: int) -> None:
    if isinstance(keep, bool) or not 0 <= keep <= MOST_KEPT_ROWS:
        raise InvalidInput(f"keep_rows must be from 0 to {MOST_KEPT_ROWS}, got {keep!r}")


class ShadowSample:
    """Says of each call whether it is copied."""

    __slots__ = ("_at", "_name", "_slots")

    def __init__(self, name: str, part: float, start: int = 0) -> None:
        """`start` is where the sequence of places begins."""
        self._name = f"{name}\0shadow"  # not the same callers as those that a split takes first
        self._slots = round(part * SLOTS)
        self._at = start % SLOTS

    def takes(self, key: str | None) -> bool:
        """Whether the call with this key, always the same answer, or the next one without a key is copied."""
        if key is not None:
            return slot_of(self._name, key) < self._slots
        self._at = (self._at + STEP) % SLOTS
        return self._at < self._slots
