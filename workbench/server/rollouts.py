"""Runs the rollouts: looks, asks `versions.rollout` what is next, writes that down, and gives the version its part.

The state is on the disk before the weight changes, marked as not enacted yet; so whatever ends this process, the next
one knows what was meant, and does it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace

import msgspec

from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Outcome, errors_in
from workbench.core.rollout_view import ClauseView, RolloutView
from workbench.core.shadow_figures import ShadowFigures
from workbench.engine import Engine
from workbench.errors import Conflict, NotFound, StorageError, WorkbenchError
from workbench.server.audit.audit_log import AuditLog
from workbench.server.persistence import ModelPersistence
from workbench.telemetry.counters import Counters
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.rollout_figures import RolloutFigures
from workbench.versions.copied_rows import CopiedRows
from workbench.versions.guard import StepEvidence
from workbench.versions.live_comparison import VersionCounts
from workbench.versions.rollout import (
    Found,
    RolloutPlan,
    RolloutState,
    RolloutStatus,
    advance,
    begun,
    checked_plan,
    halted,
    restarted,
    resumed,
    stopped,
    told,
)
from workbench.versions.traffic_split import weight_of

log = logging.getLogger("workbench.rollouts")


class Rollouts:
    """Belongs to the event loop. The last rollout of each model is kept, until the model is unloaded."""

    def __init__(
        self,
        engine: Engine,
        persistence: ModelPersistence,
        metrics: Metrics,
        audit: AuditLog,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._persistence = persistence
        self._metrics = metrics
        self._audit = audit
        self._wall = wall
        self._rollouts: dict[str, RolloutState] = {}
        self._evidence: dict[str, StepEvidence] = {}
        self._counted: dict[tuple[str, str], Counters] = {}
        """What had been counted at the last look."""
        self._copied: defaultdict[str, CopiedRows] = defaultdict(CopiedRows)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # Life

    async def restore(self) -> None:
        """Go on with what ran when the last process ended; once the models are restored."""
        for name, text in (await asyncio.to_thread(self._persistence.state.rollouts)).items():
            if not self._engine.statuses(name):
                continue  # not served any more, as by a service without its repository
            try:
                found = msgspec.json.decode(text, type=RolloutState)
                checked_plan(found.plan)
            except (msgspec.MsgspecError, WorkbenchError) as error:
                log.error("the rollout of model %s is not known any more: %s", name, error)
                continue
            self._rollouts[name] = rollout = restarted(found, self._wall())
            if rollout is not found:
                log.info("rollout of %s goes on, %s; %s", name, told(rollout), rollout.reason)
                with suppress(StorageError):
                    await self._keep(rollout)
            self._follow(rollout)

    async def close(self) -> None:
        """Stop looking; the next process goes on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Verbs

    def all(self) -> list[RolloutView]:
        return [view_of(each) for name, each in sorted(self._rollouts.items()) if self._engine.statuses(name)]

    def of(self, name: str) -> RolloutView:
        return view_of(self._of(name))

    def figures(self) -> list[RolloutFigures]:
        """For the metrics."""
        return [
            RolloutFigures(name, each.plan.version, each.status.value, each.step + 1)
            for name, each in sorted(self._rollouts.items())
        ]

    async def start(self, name: str, version: str, plan: RolloutPlan) -> RolloutView:
        """Give `version` its first part. `plan` is without the versions. Raises Conflict where one is under way or the
        calls are split, InvalidInput, ModelNotFound, Unavailable, Unsupported."""
        async with self._locks[name]:
            routed = self._routed(name)
            if routed is None:
                raise Conflict(
                    f"no version of model {name!r} serves yet, so there is none to compare with: route first"
                )
            plan = checked_plan(
                replace(plan, version=self._engine.routing.ready(name, version), instead_of=routed.version)
            )
            before = self._rollouts.get(name)
            if before is not None and before.status is RolloutStatus.RUNNING:
                raise Conflict(f"a rollout of model {name!r} is under way, {told(before)}: stop it first (--stop)")
            if others := sorted(set(self._weights(name)) - {plan.version}):
                raise Conflict(
                    f"the calls of model {name!r} are split with version {', '.join(others)}: end that first, as by "
                    f"%infer rollback {name}"
                )
            if plan.judges_agreement:
                self._engine.routing.check_agreement(name, plan.version)
            rollout = begun(name, plan, self._wall())
            await self._keep(rollout)
            try:
                await self._enact(rollout)
            except BaseException:
                with suppress(StorageError):
                    await asyncio.to_thread(self._persistence.state.keep_rollout, name, _text(before))
                raise
            rollout = replace(rollout, enacted=True)
            await self._keep(rollout)
            self._rollouts[name] = rollout
            self._metrics.changes.note()
            log.info("rollout of %s begins, %s; %s", name, told(rollout), plan.guard)
            self._follow(rollout)
            return view_of(rollout)

    async def stop(self, name: str, why: str) -> RolloutView:
        """End it, with no calls for its version but by name. NotFound, Conflict."""
        return await self._change(name, lambda now: stopped(self._of(name), now, why))

    async def resume(self, name: str) -> RolloutView:
        """Begin the step again in which it was halted. NotFound, Conflict."""
        view = await self._change(name, lambda now: resumed(self._of(name), now))
        self._follow(self._of(name))
        return view

    async def _change(self, name: str, change: Callable[[float], RolloutState]) -> RolloutView:
        async with self._locks[name]:
            await self._become(change(self._wall()))
            return view_of(self._of(name))

    def _of(self, name: str) -> RolloutState:
        self._engine.status(name)
        if (found := self._rollouts.get(name)) is None:
            raise NotFound(f"there was no rollout of model {name!r}: begin one with %infer rollout {name} VERSION")
        return found

    # A rollout's way

    def _follow(self, rollout: RolloutState) -> None:
        name = rollout.model
        task = self._tasks.get(name)
        if (rollout.status is RolloutStatus.RUNNING or not rollout.enacted) and (task is None or task.done()):
            self._have_copies(rollout)
            self._look(rollout)  # from here on it is counted
            self._evidence[name] = StepEvidence()
            self._tasks[name] = asyncio.get_running_loop().create_task(self._run(name))

    async def _run(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._rollouts[name].plan.look_s)
            async with self._locks[name]:
                rollout = self._rollouts[name]
                if rollout.status is not RolloutStatus.RUNNING and rollout.enacted:
                    return
                if not self._engine.statuses(name):  # unloaded, with all that is known of it
                    del self._rollouts[name]
                    self._engine.routing.judge_copies(name, None)
                    log.warning("rollout of %s ends: the model was unloaded", name)
                    self._metrics.changes.note()
                    return
                try:
                    if rollout.enacted:
                        await self._become(advance(rollout, self._wall(), self._look(rollout)))
                    else:
                        await self._become(rollout)
                except StorageError as error:
                    log.error("rollout of %s cannot go on, and tries again: %s", name, error.message)
                except Exception:
                    log.exception("rollout of %s: a look failed; it tries again", name)

    def _look(self, rollout: RolloutState) -> Found:
        """What there is now, and what was counted since the last look."""
        name, plan = rollout.model, rollout.plan
        figures = self._metrics.state().figures
        counts = []
        for version in (plan.instead_of, plan.version):
            total = figures.get((name, version), _NOTHING)
            since = total.since(self._counted.get((name, version), _NOTHING))
            self._counted[name, version] = total
            calls = sum(count for outcome, count in since.outcomes.items() if outcome is not Outcome.CANCELLED)
            counts.append(
                VersionCounts(
                    calls,
                    errors_in({each.value: count for each, count in since.outcomes.items()}),
                    since.request.histogram(),
                    {},
                )
            )
        evidence = self._evidence.setdefault(name, StepEvidence())
        agreeing, unlike = self._copied[name].since(self._copies(rollout))
        evidence.add(counts[0], counts[1], agreeing, unlike)
        routed = self._routed(name)
        verdicts = evidence.judged(plan.clauses, alpha=rollout.alpha, alone=rollout.alone)
        missing = self._missing(name, plan.version)
        return Found(routed.version if routed is not None else None, self._weights(name), missing, verdicts)

    def _have_copies(self, rollout: RolloutState) -> None:
        """Have the new version get copies of the calls, too, for as long as a clause needs them."""
        wanted = rollout.status is RolloutStatus.RUNNING and rollout.plan.judges_agreement
        self._engine.routing.judge_copies(rollout.model, rollout.plan.version if wanted else None)

    def _copies(self, rollout: RolloutState) -> ShadowFigures | None:
        traffic = self._engine.routing.shadow(rollout.model)
        figures = traffic.figures() if traffic is not None else None
        sides = (rollout.plan.version, rollout.plan.instead_of)
        return figures if figures is not None and (figures.version, figures.beside) == sides else None

    def _missing(self, name: str, version: str) -> str:
        found = [each for each in self._engine.statuses(name) if each.version == version]
        ready = [each for each in found if each.state is ModelState.READY]
        if not ready:
            state = f"is {found[0].state.value}{': ' if found[0].reason else ''}{found[0].reason}" if found else ""
            return f"version {version} {state or 'is not loaded any more'}"
        circuit = ready[0].circuit
        if circuit is not None and circuit.state == "open":
            return f"the circuit breaker of version {version} is open: {circuit.reason}"
        return ""

    def _routed(self, name: str) -> ModelStatus | None:
        return next((each for each in self._engine.statuses(name) if each.routed), None)

    def _weights(self, name: str) -> dict[str, float]:
        return {version: weight_of(spans) for version, spans in self._engine.versions.plan(name).spans.items()}

    async def _become(self, rollout: RolloutState) -> None:
        """Write down what it is now, act, and tell; StorageError, and then it is to be tried again."""
        name, before = rollout.model, self._rollouts[rollout.model]
        if rollout.enacted:
            if (rollout.status, rollout.step) != (before.status, before.step):
                await self._keep(rollout)
                await self._tell(rollout)
            self._rollouts[name] = rollout
            return
        await self._keep(rollout)
        try:
            await self._enact(rollout)
            rollout = replace(rollout, enacted=True)
        except StorageError:
            raise
        except WorkbenchError as error:
            if rollout.weight == 0:  # there is nothing to take back, or it is somebody else's by now
                rollout = replace(rollout, reason=f"{rollout.reason}; {error.message}", enacted=True)
            else:
                rollout = halted(rollout, self._wall(), error.message)
        if rollout.status is RolloutStatus.RUNNING:
            self._evidence[name] = StepEvidence()
        await self._keep(rollout)
        await self._tell(rollout)

    async def _enact(self, rollout: RolloutState) -> None:
        routing, name, plan = self._engine.routing, rollout.model, rollout.plan
        if rollout.promotes:
            if (routed := self._routed(name)) is None or routed.version != plan.version:
                await routing.route(name, {plan.version: 1.0})
                await self._persistence.tidy(self._engine)
        elif (weight := rollout.weight) is not None:
            await routing.shift(name, plan.version, weight, instead_of=plan.instead_of, by=plan.by)
            if not weight:
                await self._persistence.tidy(self._engine)

    async def _keep(self, rollout: RolloutState) -> None:
        await asyncio.to_thread(self._persistence.state.keep_rollout, rollout.model, _text(rollout))

    async def _tell(self, rollout: RolloutState) -> None:
        """From here on others see it."""
        if rollout.status is not RolloutStatus.STOPPED:  # that is somebody's, and written down as theirs
            await self._audit.done_by_service("rollout", rollout.model, told(rollout))
        fine = rollout.status in (RolloutStatus.RUNNING, RolloutStatus.DONE, RolloutStatus.STOPPED)
        log.log(logging.INFO if fine else logging.WARNING, "rollout of %s, %s", rollout.model, told(rollout))
        self._rollouts[rollout.model] = rollout
        self._have_copies(rollout)
        self._metrics.changes.note()


_NOTHING = Counters()


def _text(rollout: RolloutState | None) -> str | None:
    return None if rollout is None else msgspec.json.encode(replace(rollout, verdicts=())).decode()


def view_of(rollout: RolloutState) -> RolloutView:
    """What is told of a rollout."""
    plan = rollout.plan
    return RolloutView(
        model=rollout.model,
        version=plan.version,
        instead_of=plan.instead_of,
        status=rollout.status.value,
        told=told(rollout),
        reason=rollout.reason,
        step=rollout.step + 1,
        steps=plan.steps,
        every_s=plan.every_s,
        guard=plan.guard,
        on_breach=plan.on_breach.value,
        least_calls=plan.least_calls,
        by=plan.by,
        began_at=rollout.began_at,
        step_began_at=rollout.step_began_at,
        step_ends_at=rollout.ends_at,
        seen_since=rollout.seen_since,
        changed_at=rollout.changed_at,
        clauses=tuple(ClauseView(**asdict(each)) for each in rollout.verdicts),
    )
