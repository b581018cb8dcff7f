"""Which version of a model answers which calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.api.service_handle import ServiceHandle
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    from workbench.client.rollout_results import Rollout
    from workbench.client.shadow_results import ShadowReport
    from workbench.client.summary import Card
    from workbench.client.version_results import VersionTable


class VersionCalls(ServiceHandle):
    """The calls of a `Workbench` that label, route, shadow and roll out versions."""

    def versions(self, name: str) -> VersionTable:
        """Lists the versions of a model that are loaded or kept; `.history` says who had which one serve, and when."""
        from workbench.client import sync
        from workbench.client.version_results import VersionTable

        return VersionTable(sync.run(self._client.versions(name)))

    def label(
        self, name: str, labels: Mapping[str, str | int | None] | None = None, /, **more: str | int | None
    ) -> Card:
        """Has each label point to its version, all at one moment: `wb.label("digits", stable=1, canary=2)`.

        Calls name a label wherever they can name a version: `wb["digits:canary"]`. None takes a label away. A version
        with a label stays loaded. Raises InvalidInput for a version that is not Ready, or a label like a version.
        """
        from workbench.client import sync
        from workbench.client.version_results import labels_card

        asked = {
            each: None if version is None else str(version) for each, version in {**(labels or {}), **more}.items()
        }
        if not asked:
            raise InvalidInput("label needs at least one label, as canary=2")
        self._predictor.forget(name)
        return labels_card(name, sync.run(self._client.label(name, asked)))

    def route(
        self,
        name: str,
        weights: Mapping[str, float | str] | str | int | None = None,
        *,
        by: str = "",
        shadow: Mapping[str, float | str] | str | int | None = None,
        keep_rows: int = 0,
        share: str = "",
        wait: bool = False,
        force: bool = False,
    ) -> Card:
        """Splits the calls that name no version: `wb.route("digits", {"2": 0.10})` sends 10 % of them to version 2, and
        the rest to the version that serves.

        `wb.route("digits", "2")` has version 2 serve, and `{}` or a weight of 0 ends the split. Calls with the same
        value of the parameter `by`, or else of the same share, stay on one side, also when the weight grows. `wait`
        waits for a load of the model that is under way; `force` routes all calls to a version with other inputs or
        outputs.

        `shadow={"2": 0.25}` has version 2 get a copy of 25 % of the calls. A copy never delays its call, and callers
        never get its answer: `wb.shadow("digits")` tells how the answers differ. `keep_rows` of the rows that differ
        most are kept in the service's memory; they are callers' data. `shadow={}` ends it. What is left out stays as
        it is.

        `share="team-a"` has the calls of this share alone go by the weights, whatever others go by, until it ends; `{}`
        has them go as all others do.

        Raises InvalidInput for weights over 100 %, ModelNotFound or Unavailable for a version that is not Ready,
        NotFound for a share that does not hold.
        """
        from workbench.client import sync
        from workbench.client.version_results import route_card, share_route_card, weights_from

        if weights is None and shadow is None:
            raise InvalidInput('route takes weights, as {"2": 0.1}, a version, or shadow={"2": 0.25}')
        self._predictor.forget(name)
        copied = None if shadow is None else weights_from(shadow)
        parts = None if weights is None else weights_from(weights)
        done, split = sync.run(
            self._client.route(
                name, parts, by=by, shadow=copied, keep_rows=keep_rows, share=share, wait=wait, force=force
            )
        )
        return share_route_card(name, share, parts or {}) if share else route_card(done, split, by, copied)

    def shadow(self, name: str) -> ShadowReport:
        """Tells how the answers of a model's shadow differ from those that callers got: by output the largest
        difference, rows with the same label or class, and in `.examples` the rows that differ most, if they are kept.

        Raises NotFound where no calls are copied.
        """
        from workbench.client import sync
        from workbench.client.shadow_results import ShadowReport

        return ShadowReport(*sync.run(self._client.shadow(name)))

    def rollback(self, name: str) -> Card:
        """Has the version serve again that served before, without a failed request; again, the one before that.

        It is loaded again if it is not loaded any more, and the answer says how long that took. Raises Conflict where
        none served before.
        """
        from workbench.client import sync
        from workbench.client.version_results import rollback_card

        self._predictor.forget(name)
        return rollback_card(sync.run(self._client.rollback(name)))

    def rollout(
        self,
        name: str,
        version: str | int | None = None,
        *,
        steps: Sequence[float] | str = (0.01, 0.1, 0.5, 1.0),
        every: float | str = "5m",
        guard: str = "errors<1.5x,p99<1.1x",
        on_breach: str = "rollback",
        least_calls: int = 200,
        by: str = "",
        stop: bool = False,
        resume: bool = False,
    ) -> Rollout:
        """Gives a version more and more of the calls by itself, as long as `guard` holds:
        `wb.rollout("digits", "2", steps=[.01, .1, .5, 1], every="5m", guard="errors<0.5%,p99<1.2x")`.

        On a breach it gets none any more, or with `on_breach="halt"` no more than it has. A step goes on when its time
        is over and both versions have had `least_calls`. Without a version it tells how the last rollout stands;
        `stop` ends it, `resume` begins the step again in which it was halted. The service goes on with it whatever
        becomes of this process.

        Raises InvalidInput, ModelNotFound or Unavailable for a version that is not Ready, Conflict where a rollout is
        under way, NotFound where there was none.
        """
        from workbench.client import sync
        from workbench.client.rollout_results import Rollout, seconds_from, steps_from

        self._predictor.forget(name)
        if stop and resume:
            raise InvalidInput("stop ends a rollout, and resume goes on with it: give one of them")
        if version is None:
            act = self._client.stop_rollout if stop else self._client.resume_rollout if resume else self._client.rollout
            return Rollout(self._client, sync.run(act(name)))
        if stop or resume:
            raise InvalidInput("stop and resume are of the rollout that there is: leave the version out")
        begin = self._client.start_rollout(
            name,
            str(version),
            steps=steps_from(steps),
            every_s=seconds_from(every),
            guard=guard,
            on_breach=on_breach,
            least_calls=least_calls,
            by=by,
        )
        return Rollout(self._client, sync.run(begin))
