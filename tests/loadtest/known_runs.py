"""Short runs against servers of which the truth is known."""

from __future__ import annotations

from tests.loadtest.servers import Process, Script
from workbench.loadtest.job import start
from workbench.loadtest.plan import Attack, Plan, Target
from workbench.loadtest.store.recording import Recording

END_S = 120.0


def plan(server: Process, attack: Attack, **changes: object) -> Plan:
    settings = {"duration_s": 0.5, "warm_up_s": 0.0, **changes}
    return Plan(Target("m", server.url), attack, **settings)  # type: ignore[arg-type]


def recorded(script: Script, attack: Attack, **changes: object) -> Recording:
    with Process(script) as server:
        return start(plan(server, attack, **changes)).result(END_S)
