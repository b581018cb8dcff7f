"""Short runs against servers of which the truth is known."""

from __future__ import annotations

from tests.loadtest.servers import Process, Script
from workbench.loadtest.job import start
from workbench.loadtest.patterns import Pattern
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.store.recording import Recording

END_S = 120.0


def plan(server: Process, pattern: Pattern, **changes: object) -> Plan:
    settings = {"duration_s": 0.5, "warm_up_s": 0.0, **changes}
    return Plan(Target("m", server.url), pattern, **settings)  # type: ignore[arg-type]


def recorded(script: Script, pattern: Pattern, **changes: object) -> Recording:
    with Process(script) as server:
        return start(plan(server, pattern, **changes)).result(END_S)
