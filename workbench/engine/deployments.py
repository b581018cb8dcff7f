"""Keeps track of all deployments: which are live, by version, which is routed, and which failed."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Collection, Mapping

from workbench.core.model import ModelState, ModelStatus
from workbench.core.version_plan import ShadowPlan, VersionPlan
from workbench.engine.deployment import Deployment
from workbench.engine.pipeline_deployment import PipelineDeployment
from workbench.engine.served import Served
from workbench.engine.shadow_traffic import CopyBudget, ShadowRoute, ShadowTraffic
from workbench.versions.route_counts import Accepting, RouteCounts, Way
from workbench.versions.routing_table import RoutingTable
from workbench.versions.split_router import Split, SplitByShare
from workbench.versions.traffic_split import SLOTS, Spans, weight_of

Key = tuple[str, str]

_COMING = (ModelState.LOADING, ModelState.READY)
"""What drains or failed answers to no pipeline any more."""


class Deployments:
    """Belongs to the event loop's thread. `table` is made anew by every change, and is all that the path reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.table: RoutingTable[Served] = RoutingTable()
        self._inner = self.table
        """As pipelines see it: until the end, when nothing else answers any more."""
        self._cleared = False
        self._living: list[Served] = []
        """From `add` until `buried`: also those that drain, which answer to nothing any more."""
        self._serving: dict[Key, Served] = {}
        """Those that answer to their version; they may still be loading."""
        self._routed: dict[str, Served] = {}
        self._failed: dict[Key, ModelStatus] = {}
        self._plans: dict[str, VersionPlan] = {}
        """What each name stands for beside its routed version, where that is anything."""
        self._shadows: dict[str, ShadowTraffic] = {}
        self._judged: dict[str, ShadowPlan] = {}
        """Shadows that a rollout needs; they last no longer than this process."""
        self._copies = CopyBudget()
        self.counts = RouteCounts()

    # Asked

    @property
    def living(self) -> list[Served]:
        return list(self._living)

    def routed(self, name: str) -> Served | None:
        return self._routed.get(name)

    def plan(self, name: str) -> VersionPlan:
        return self._plans.get(name, VersionPlan())

    def for_shares(self) -> dict[str, frozenset[str]]:
        """The shares whose calls are routed by themselves, by model."""
        return {name: frozenset(plan.shares) for name, plan in self._plans.items() if plan.shares}

    def meant(self, name: str, version: str | None) -> str | None:
        """The version that a label, or a version, means; what is neither is given back."""
        return self.plan(name).labels.get(version, version) if version is not None else None

    def get(self, name: str, version: str) -> Served | None:
        return self._serving.get((name, version))

    def of(self, name: str) -> list[Served]:
        return [deployment for key, deployment in self._serving.items() if key[0] == name]

    def member(self, name: str, version: str | None) -> Served:
        """Implements pipeline_deployment.Members."""
        return self._inner.choose(name, version)

    def asks(self) -> dict[str, list[tuple[str, ...]]]:
        """Implements pipeline_deployment.Members."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for each in self._living:  # also one that is to take the place of one of its own version
            if isinstance(each, PipelineDeployment) and each.asked and each.state in _COMING:
                found.setdefault(each.name, []).append(each.asked)
        return found

    def failures(self, name: str) -> list[ModelStatus]:
        """What is listed as Failed under this name."""
        return [status for key, status in self._failed.items() if key[0] == name]

    def failed(self, name: str) -> bool:
        return any(key[0] == name for key in self._failed)

    def judge(self, name: str, shadow: ShadowPlan | None) -> None:
        """Have calls be copied as long as nothing else is said, beside what the plan says; None: no longer."""
        if shadow != self._judged.get(name):
            if shadow is None:
                del self._judged[name]
            else:
                self._judged[name] = shadow
            self._publish()

    def shadow(self, name: str) -> ShadowTraffic | None:
        """The copies of this model's calls; None: there are none."""
        return self._shadows.get(name)

    def next_version(self, name: str, others: list[str]) -> str:
        """One more than any that serves or that `others` holds; the number of a version that failed is used again."""
        taken = max((int(version) for version in (*others, *(each.version for each in self.of(name)))), default=0)
        failed = max((int(version) for known, version in self._failed if known == name), default=0)
        return str(max(taken + 1, failed))

    def statuses(self) -> list[ModelStatus]:
        """One for each version: what answers to it, else what is listed as Failed, else what drains."""
        leaving = (each for each in self._living if each.state is not ModelState.FAILED)
        found = {(each.name, each.version): each.status() for each in leaving}
        found.update(self._failed)
        found.update({key: each.status() for key, each in self._serving.items()})
        return [found[key] for key in sorted(found, key=lambda key: (key[0], int(key[1])))]

    # Changed

    def add(self, deployment: Served) -> bool:
        """It lives, and answers to its version unless another one does: then False."""
        self._living.append(deployment)
        key = (deployment.name, deployment.version)
        if key in self._serving:
            return False
        self._failed.pop(key, None)
        self._serving[key] = deployment
        self._publish()
        return True

    def route(
        self, deployment: Served, plan: VersionPlan, keep: Collection[Served] = ()
    ) -> tuple[Served | None, list[Served]]:
        """Requests without a version go to it now, and `plan` holds. The one they went to before, and all that it took
        the place of, but for those of `keep`, which go on answering to their versions."""
        name = deployment.name
        before = self._routed.get(name)
        key = (name, deployment.version)
        displaced = {
            id(each): each for each in (before, self._serving.get(key)) if each not in (None, deployment, *keep)
        }
        for each in displaced.values():
            assert each is not None
            if self._serving.get((name, each.version)) is each:
                del self._serving[name, each.version]
        self._serving[key] = deployment
        self._routed[name] = deployment
        self.arrange(name, plan)
        return before, [each for each in displaced.values() if each is not None]

    def arrange(self, name: str, plan: VersionPlan) -> None:
        """`plan` holds from now on: all of it at one moment."""
        if plan == VersionPlan():
            self._plans.pop(name, None)
        else:
            self._plans[name] = plan
        self._publish()
        routed = self._routed.get(name)
        weights = {version: weight_of(spans) for version, (_, spans) in self._weighted(name, plan.spans).items()}
        if routed is not None:
            weights[routed.version] = 1.0 - sum(weights.values())
        for each in self.of(name):
            each.place(each is routed, plan.labels_of(each.version), weights.get(each.version, 0.0))

    def take_place(self, deployment: Served) -> Served | None:
        """It answers to its version, which is not routed to, in place of the one that did so far; that one."""
        key = (deployment.name, deployment.version)
        before = self._serving.get(key)
        self._serving[key] = deployment
        self.arrange(deployment.name, self.plan(deployment.name))
        return before

    def remove(self, deployment: Served) -> None:
        """It answers to nothing any more; it lives until it is buried."""
        key = (deployment.name, deployment.version)
        if self._serving.get(key) is deployment:
            del self._serving[key]
        if self._routed.get(deployment.name) is deployment:
            del self._routed[deployment.name]
        self._publish()

    def buried(self, deployment: Served) -> None:
        self._living = [each for each in self._living if each is not deployment]
        if (deployment.name, deployment.version) not in self._serving:
            self.counts.forget(deployment.name, deployment.version)

    def fail(self, status: ModelStatus) -> None:
        """List a version as Failed."""
        self._failed[status.name, status.version] = status
        self._publish()

    def drop_failed(self, name: str, version: str | None = None) -> list[ModelStatus]:
        """Forget what failed under this name, or one version of it: as Gone, but where another answers to that version
        now."""
        failed = [key for key in self._failed if key[0] == name and version in (None, key[1])]
        dropped = [self._failed.pop(key) for key in failed]
        self._publish()
        return [
            dataclasses.replace(status, state=ModelState.GONE)
            for status in dropped
            if (status.name, status.version) not in self._serving
        ]

    def clear(self) -> None:
        """Nothing answers any more, but to the stages of pipelines."""
        self._cleared = True
        self._serving.clear()
        self._routed.clear()
        self._publish()

    def _before(self, name: str, plan: VersionPlan) -> Accepting | None:
        """What takes the calls without a version in the place of the routed one; None: itself."""
        routed = self._routed.get(name)
        if routed is None:
            return None
        split = self._split(name, routed, plan.spans, plan.by, plan, Way.SPLIT)
        splits = {share: self._split(name, routed, spans, "", plan, Way.SHARE) for share, spans in plan.shares.items()}
        found = {share: each for share, each in splits.items() if each is not None}
        return SplitByShare(split or routed, found) if found else split

    def _split(
        self, name: str, routed: Served, spans: Mapping[str, Spans], by: str, plan: VersionPlan, way: Way
    ) -> Split[Served] | None:
        weighted = self._weighted(name, spans)
        start = random.randrange(SLOTS)
        return Split(routed, weighted, by, plan.labels, start, self.counts, way) if weighted else None

    def _weighted(self, name: str, of: Mapping[str, Spans]) -> dict[str, tuple[Served, Spans]]:
        """The versions that get a part of the calls. One that is being restored gets its part once it is Ready, and one
        that could not be none; until then the routed one has them."""
        found = ((version, self._serving.get((name, version)), spans) for version, spans in of.items())
        return {
            version: (target, spans)
            for version, target, spans in found
            if target is not None and target.state is ModelState.READY
        }

    def _traffic(self, name: str) -> ShadowTraffic | None:
        """The shadow of a model, where it can be one now: the same as before, with what it found, while it and the
        version beside it are the same loads."""
        asked = self.plan(name).shadow or self._judged.get(name)
        routed, before = self._routed.get(name), self._shadows.get(name)
        if asked is None or routed is None:
            return None
        shadow = self._serving.get((name, asked.version))
        if shadow is routed or not isinstance(shadow, Deployment) or not shadow.takes_copies:
            return None
        if routed.signature is None or shadow.signature is None or routed.signature.difference(shadow.signature):
            return None
        if before is None or (before.routed, before.shadow) != (routed, shadow):
            return ShadowTraffic(asked, routed, shadow, self._copies, self._clock)
        before.configure(asked)
        return before

    def _follow_shadows(self) -> None:
        named = {*self._judged, *(name for name, plan in self._plans.items() if plan.shadow is not None)}
        shadowed = {name: self._traffic(name) for name in named}
        for name, before in self._shadows.items():
            if shadowed.get(name) is not before:
                before.close()
        self._shadows = {name: each for name, each in shadowed.items() if each is not None}
        for each in self._shadows.values():
            each.shadow.shadow_figures = each.figures

    def _publish(self) -> None:
        failed = {key: status.reason for key, status in self._failed.items()}
        labels = {(name, label): each for name, plan in self._plans.items() for label, each in plan.labels.items()}
        before: dict[str, Accepting] = {
            name: each for name, plan in self._plans.items() if (each := self._before(name, plan)) is not None
        }
        if self._shadows or self._judged or any(plan.shadow is not None for plan in self._plans.values()):
            self._follow_shadows()
            for name, traffic in self._shadows.items():
                before[name] = ShadowRoute(before.get(name, traffic.routed), traffic)
        self.table = RoutingTable(self._serving.values(), self._routed, failed, labels, before, self.counts)
        if not self._cleared:
            self._inner = self.table
            for each in self._living:
                if isinstance(each, PipelineDeployment):
                    each.members_changed()
