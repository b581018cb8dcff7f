"""Which versions of a model stay loaded, as Triton's `version_policy` has it: the latest N, all, or specific ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from workbench.core.version_plan import VersionPlan

MOST_BEFORE = 4
"""Of the versions that served before; the store keeps as many of their files."""


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """The value of the setting `versions`: "latest:N", "all" or "specific:1,3"."""

    latest: int | None = None
    """None: not by their number."""
    specific: frozenset[str] | None = None
    """None with `latest` None: all."""

    def of_folder(self, versions: Iterable[str]) -> list[str]:
        """Those that are loaded of a folder's versions, the highest last, which is the one that is routed to."""
        found = sorted(versions, key=int)
        if self.specific is not None:
            return [each for each in found if each in self.specific]
        return found if self.latest is None else found[-self.latest :]

    def keeps(self, routed: str, others: Collection[str], before: Collection[str]) -> set[str]:
        """Those of `others`, which are loaded, that stay so beside the routed version. Of the latest N, whatever served
        before goes ahead of what never did or was taken back, and then the higher number."""
        if self.specific is not None:
            return {each for each in others if each in self.specific}
        if self.latest is None:
            return set(others)
        served = list(before)
        order = sorted(others, key=lambda each: (each in served and served.index(each) + 1, int(each)), reverse=True)
        return set(order[: self.latest - 1])


def policy_of(setting: str) -> VersionPolicy:
    """`setting` as ModelConfig has checked it."""
    kind, _, value = setting.partition(":")
    if kind == "specific":
        return VersionPolicy(specific=frozenset(value.split(",")))
    return VersionPolicy() if kind == "all" else VersionPolicy(latest=int(value or "1"))


def after_routing(plan: VersionPlan, setting: str, new: str, current: str | None) -> VersionPlan:
    """The plan once `new` is routed to in place of `current`: what stays loaded, and what served before."""
    before = plan.before
    if current is not None and current != new:
        before = (*(each for each in plan.before if each not in (new, current)), current)[-MOST_BEFORE:]
    spans = {version: held for version, held in plan.spans.items() if version != new}
    held = tuple(each for each in plan.held if each != new)
    shadow = plan.shadow if plan.shadow is not None and plan.shadow.version != new else None
    plan = replace(plan, before=before, held=held, spans=spans, by=plan.by if spans else "", shadow=shadow)
    others = {each for each in (*plan.beside, *plan.pinned, current) if each not in (None, new)}
    return staying(replace(plan, beside=tuple(sorted(filter(None, others), key=int))), setting, new)


def taken_back(plan: VersionPlan, setting: str, current: str) -> VersionPlan:
    """The plan once `current`, which is routed to, has given its place back to the one before."""
    back = plan.before[-1]
    after = after_routing(replace(plan, before=plan.before[:-1], spans={}, by="", shadow=None), setting, back, None)
    others = tuple(sorted({*plan.beside, current} - {back}, key=int))
    after = replace(after, beside=others, highest=max(plan.highest, int(current)))
    return staying(after, setting, back)


def pinned_differently(before: VersionPlan, after: VersionPlan, setting: str, routed: str | None) -> VersionPlan:
    """`after`, which pins other versions than `before` did, with those that now stay loaded."""
    others = {*before.beside, *after.pinned} - {routed}
    plan = replace(after, beside=tuple(sorted(others, key=int)))
    return plan if routed is None else staying(plan, setting, routed)


def staying(plan: VersionPlan, setting: str, routed: str) -> VersionPlan:
    """The plan with those beside the routed version that the policy and the plan itself keep."""
    free = [each for each in plan.beside if each not in plan.pinned]
    kept = policy_of(setting).keeps(routed, free, plan.before) | plan.pinned
    return replace(plan, beside=tuple(each for each in plan.beside if each in kept))


def without(plan: VersionPlan, version: str) -> VersionPlan:
    """The plan once `version` is not loaded any more."""
    beside = tuple(each for each in plan.beside if each != version)
    held = tuple(each for each in plan.held if each != version)
    labels = {label: each for label, each in plan.labels.items() if each != version}
    spans = {each: places for each, places in plan.spans.items() if each != version}
    by = plan.by if spans else ""
    shadow = plan.shadow if plan.shadow is not None and plan.shadow.version != version else None
    highest = max(plan.highest, int(version))
    plan = of_shares_with(plan, lambda each: each != version)
    return replace(plan, beside=beside, held=held, labels=labels, spans=spans, by=by, shadow=shadow, highest=highest)


def of_shares_with(plan: VersionPlan, keeps: Callable[[str], bool]) -> VersionPlan:
    """The plan in which calls of shares are routed to those versions alone that `keeps` says; a share that is left
    with none is routed as all others are."""
    shares = {
        share: kept
        for share, spans in plan.shares.items()
        if (kept := {version: places for version, places in spans.items() if keeps(version)})
    }
    return replace(plan, shares=shares)


def with_beside(plan: VersionPlan, version: str) -> VersionPlan:
    """The plan with a version that was loaded beside the routed one, as the policy of its folder asks."""
    return replace(plan, beside=tuple(sorted({*plan.beside, version}, key=int)))


def with_held(plan: VersionPlan, version: str) -> VersionPlan:
    """The plan with a version that was loaded by name, without being routed to."""
    return replace(with_beside(plan, version), held=tuple(sorted({*plan.held, version}, key=int)))
