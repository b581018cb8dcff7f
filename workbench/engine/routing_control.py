"""Decides which versions get a model's calls, or copies of them: all, a part, those of one share, or a shadow's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from workbench.core.model import ModelState, check_model_name
from workbench.core.version_plan import ShadowPlan, VersionPlan
from workbench.engine.deployment import Deployment
from workbench.engine.model_changes import LoadResult, ModelChanges, check_same_signature, take_policy_of
from workbench.engine.served import Served
from workbench.engine.shadow_traffic import ShadowTraffic
from workbench.errors import Conflict, InvalidInput, Unavailable, Unsupported
from workbench.versions.copied_rows import tells_agreement
from workbench.versions.labels import version_meant
from workbench.versions.shadow_sample import shadow_asked
from workbench.versions.traffic_split import Spans, checked_weights, spread
from workbench.versions.version_policy import after_routing


class RoutingControl:
    """Belongs to the event loop's thread. Nothing of it is on a request's way: it replaces the routing table."""

    def __init__(self, changes: ModelChanges) -> None:
        self._changes = changes
        self._deployments = changes.deployments

    # Asked

    def ready(self, name: str, version: str) -> str:
        """The number of a version or label that is Ready. ModelNotFound, Unavailable."""
        return self._ready_version(name, version).version

    def for_shares(self) -> dict[str, frozenset[str]]:
        """The ids of shares whose calls are routed by themselves, by model."""
        return self._deployments.for_shares()

    def shadow(self, name: str) -> ShadowTraffic | None:
        """The copies of this model's calls; None: there are none."""
        return self._deployments.shadow(name)

    def check_agreement(self, name: str, version: str) -> None:
        """Whether it can be told how far this version agrees with the routed one. Raises Conflict for other inputs or
        outputs or where another version gets copies, Unsupported where it cannot get any, InvalidInput for outputs
        that agree in no row or in all."""
        routed, new = self._deployments.routed(name), self._ready_version(name, version)
        if routed is None:
            return
        _check_part(routed, new)
        _check_copies(routed, new)
        if (shadow := self._changes.plan(name).shadow) is not None and shadow.version != new.version:
            raise Conflict(
                f"agreement is told by copies of calls, and those of model {name!r} are for version {shadow.version}: "
                f"end that first, as by %infer route {name} --shadow none"
            )
        if routed.signature is not None and not tells_agreement(routed.signature):
            outputs = ", ".join(each.name for each in routed.signature.outputs)
            raise InvalidInput(
                f"agreement is of labels, or of the class with the highest score, and model {name!r} has neither in "
                f"its outputs ({outputs}): leave the clause out, and see how far numbers differ by a shadow"
            )

    # Verbs

    async def route(
        self,
        name: str,
        weights: Mapping[str, float] | None = None,
        *,
        by: str = "",
        shadow: Mapping[str, float] | None = None,
        keep_rows: int = 0,
        wait: bool = False,
        force: bool = False,
    ) -> LoadResult:
        """Split the requests that name no version: each of these versions, or labels, gets its weight of them, and the
        routed version the rest. One with all of them is routed to, as by `commit`; without weights nothing is split.

        `shadow` has a version get a copy of this part of the requests, {}: none; `keep_rows` of those whose answers
        differ most are kept in memory. None, of both: it stays as it is.
        `by`: the value of this parameter of a request, or else its share, sticks to one side ("share": that alone).
        `wait`: until a change of the model that is under way, as a load, has ended. Of the result `previous` is the
        version that was routed before, `live` whether it still is.

        Raises InvalidInput for weights that cannot be, ModelNotFound and Unavailable for a version that is not Ready,
        Conflict for one with other inputs or outputs (unless `force`, to route to it), Unsupported for models with
        state.
        """
        changes = self._changes
        began = changes.clock()
        check_model_name(name)
        if not wait:
            for version in (*(weights or ()), *(shadow or ())):
                self._ready_version(name, version)
        async with changes.changing(name):
            plan, current = changes.plan(name), self._deployments.routed(name)
            if shadow is not None or keep_rows:
                plan = replace(plan, shadow=self._shadow(name, shadow or {}, by, keep_rows))
            if weights is not None:
                asked = self._by_version(name, weights)
                if current is None and list(asked.values()) != [1]:
                    raise Unavailable(
                        f"no version of model {name!r} is routed to yet: route all calls to one of them first"
                    )
                given = checked_weights(asked, current.version if current is not None else "")
                if list(given.values()) == [1]:
                    new = self._deployments.member(name, next(iter(given)))
                    check_same_signature(current, new, force)
                    take_policy_of(current, new)
                    before = current.version if current is not None else None
                    plan = replace(plan, spans={}, by="")
                    plan = after_routing(plan, new.config.versions, new.version, before)
                    if shadow:
                        self._check_shadow(new, plan)
                    return await changes.take_in(new, began, persist=not new.source.in_place, plan=plan)
                spans = self._spread(name, plan.spans, given)
                plan = replace(plan, spans=spans, by=by if spans else "")
            routed = self._routed(name)
            if shadow:
                self._check_shadow(routed, plan)
            return await changes.rearrange(routed, plan, began)

    async def route_share(
        self, name: str, share: str, weights: Mapping[str, float], *, wait: bool = False
    ) -> LoadResult:
        """Have the calls without a version that come with a share, by its id, go by these weights, whatever others go
        by; the routed version gets the rest of them. Without weights they go as all others do. Raises as `route`."""
        changes = self._changes
        began = changes.clock()
        check_model_name(name)
        if not wait:
            for version in weights:
                self._ready_version(name, version)
        async with changes.changing(name):
            plan, routed = changes.plan(name), self._routed(name)
            given = checked_weights(self._by_version(name, weights), "")
            spans = self._spread(name, plan.shares.get(share, {}), given)
            shares = {each: held for each, held in plan.shares.items() if each != share}
            if spans:
                shares[share] = spans
            return await changes.rearrange(routed, replace(plan, shares=shares), began)

    async def keep_shares(self, name: str, holding: Collection[str]) -> None:
        """Forget how calls of other shares than these were routed. StorageError, and then nothing has changed."""
        changes = self._changes
        async with changes.changing(name, even_lent=True):
            plan = changes.plan(name)
            shares = {share: spans for share, spans in plan.shares.items() if share in holding}
            if shares != plan.shares:
                await changes.change_pins(name, replace(plan, shares=shares))

    async def shift(self, name: str, version: str, weight: float, *, instead_of: str, by: str = "") -> None:
        """Give one version so much of the calls that name none, for a rollout: with all of them too the routed version
        stays what it is, loaded and routed, until `route` is asked for; 0 ends the split.

        Conflict where another version than `instead_of` is routed, or one has a part beside these two; and as `route`.
        """
        changes = self._changes
        async with changes.changing(name, even_lent=True):
            plan, current = changes.plan(name), self._deployments.routed(name)
            if current is None or current.version != instead_of:
                serves = "no version" if current is None else f"version {current.version}"
                raise Conflict(f"{serves} of model {name!r} serves by now, in place of {instead_of}")
            if others := sorted(set(plan.spans) - {version}):
                raise Conflict(f"version {', '.join(others)} of model {name!r} gets a part of the calls, too")
            if weight:
                _check_part(current, self._ready_version(name, version))
            spans = spread(plan.spans, {version: weight})
            after = replace(plan, spans=spans, by=by if spans else "")
            if after != plan:
                await changes.change_pins(name, after)

    def judge_copies(self, name: str, version: str | None) -> None:
        """Have this version get a copy of each call until None is said, for a rollout whose guard asks how far the
        answers agree. It is not kept on the disk, and gives way to a shadow of the user's own."""
        self._deployments.judge(name, None if version is None else ShadowPlan(version, 1.0))

    def _routed(self, name: str) -> Served:
        """Raises ModelNotFound, or Unavailable, which say what there is."""
        return self._deployments.table.choose(name, None)

    def _ready_version(self, name: str, version: str) -> Served:
        deployment = self._deployments.member(name, self._deployments.meant(name, version_meant(version)))
        if deployment.state is not ModelState.READY:
            raise Unavailable(
                f"version {deployment.version} of model {name!r} is {deployment.state.value}, not Ready, so no call "
                "can be routed to it; wait=True (--wait) waits for it"
            )
        return deployment

    def _by_version(self, name: str, weights: Mapping[str, float]) -> dict[str, float]:
        """The weights of versions or labels, by the version that each means, which is Ready."""
        asked = {self._ready_version(name, version).version: weight for version, weight in weights.items()}
        if len(asked) != len(weights):
            raise InvalidInput(f"a version of {', '.join(weights)} is named twice")
        return asked

    def _spread(self, name: str, before: Mapping[str, Spans], given: Mapping[str, float]) -> dict[str, Spans]:
        """The calls that each version gets by these weights, if it can take those of the routed one."""
        routed = self._routed(name)
        for version in given:
            _check_part(routed, self._deployments.member(name, version))
        return spread(before, given)

    def _shadow(self, name: str, asked: Mapping[str, float], by: str, keep_rows: int) -> ShadowPlan | None:
        shadow = shadow_asked(asked, by, keep_rows)
        return replace(shadow, version=self.ready(name, shadow.version)) if shadow is not None else None

    def _check_shadow(self, routed: Served, plan: VersionPlan) -> None:
        if plan.shadow is not None:
            _check_copies(routed, self._deployments.member(routed.name, plan.shadow.version))


def _check_part(routed: Served, new: Served) -> None:
    """Whether `new` may get a part of the calls that `routed` gets."""
    _check_same_calls(
        routed,
        new,
        "its calls cannot be split: a sequence would lose its state; route all of them",
        f"cannot take a part of the calls of version {routed.version}",
        "; name it in the calls that are for it",
    )


def _check_copies(routed: Served, shadow: Served) -> None:
    """Whether `shadow` may get copies of the calls that `routed` gets."""
    if routed is shadow:
        raise InvalidInput(
            f"version {routed.version} of model {routed.name!r} serves, so it cannot be its own shadow: copies are "
            "for another version"
        )
    _check_same_calls(
        routed,
        shadow,
        "it can have no shadow: a copy would step into a sequence that it knows nothing of",
        f"cannot be a shadow of version {routed.version}",
    )
    if not isinstance(shadow, Deployment) or not shadow.takes_copies:
        raise Unsupported(
            f"version {shadow.version} of model {routed.name!r} cannot be a shadow: a pipeline has its models run "
            "beside callers' own calls, and a session on a GPU takes one run at a time"
        )


def _check_same_calls(routed: Served, other: Served, with_state: str, cannot: str, instead: str = "") -> None:
    """Whether `other` takes the calls of `routed`, each of them by itself. Raises Unsupported, for the reason
    `with_state`, and Conflict, which says what the other one `cannot` and what to do `instead`."""
    if routed.status().sequence_config is not None or other.status().sequence_config is not None:
        raise Unsupported(f"model {routed.name!r} keeps state between requests, so {with_state}")
    assert routed.signature is not None and other.signature is not None
    if difference := routed.signature.difference(other.signature):
        raise Conflict(
            f"version {other.version} of model {routed.name!r} {cannot}, since its inputs or outputs are others: "
            f"{difference}{instead}"
        )
