"""Splits the mean latency into stages, joining the client's figures and the service's own.

Only means add up: the mean latency is the sum of the mean times in the stages, which holds for no percentile.
"""

from __future__ import annotations

from workbench.client.palette import STAGES, colour
from workbench.loadtest.store.run import Run

BREAKDOWN = {ink: colour(ink) for ink in ("unsent", "network", *STAGES)} | {"server": colour("compute")}
"""Stage -> colour, in order: until the generator sent it, the network both ways, and the service's own. "server" stands
for everything beyond the client where the service gives no figures."""


def stages_of(run: Run) -> dict[str, float]:
    """Mean seconds of an answered request by stage, in order; empty where nothing was answered."""
    whole = run.whole
    latency_s, service_s = whole.latency.mean_s, whole.service.mean_s
    if latency_s is None or service_s is None:
        return {}
    found = {"unsent": max(latency_s - service_s, 0.0)} if run.open_loop else {}
    said = run.server_figures().stages_s
    if not said:
        return {**found, "server": service_s}
    own = dict(said)
    # The rest of the client's wait: the network both ways, and both kernels.
    own["network"] = max(service_s - sum(own.values()), 0.0)
    return {**found, **{stage: own[stage] for stage in BREAKDOWN if stage in own}}


def longest_stage(run: Run) -> tuple[str, float] | None:
    """The stage with the largest share, and that share; None without figures of the service."""
    found = stages_of(run)
    total_s = sum(found.values())
    if len(found) < 3 or total_s <= 0:
        return None
    stage = max(found, key=lambda each: found[each])
    return stage, found[stage] / total_s
