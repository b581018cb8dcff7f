"""Decides from the generator's own figures whether it was the limit. Pure.

A load test measures the server only as long as the generator is the faster of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.loadtest.plan import Plan
from workbench.loadtest.store.recording import Generator, ServerSecond

LAG_S = 0.001
"""1 % of the requests may leave this late whatever the latencies are."""

LAG_SHARE = 0.1
"""1 % of the requests may leave late by this share of p99, which then hardly changes."""

CPU_SHARE = 0.9
"""The share of its one core that a generator may use."""

MACHINE_SHARE = 0.95
"""Above this share of all cores, two programs on one machine slow each other down."""


def limit_of(plan: Plan, generator: Generator, p99_s: float | None) -> str:
    """One sentence where the generator was the limit; else empty. `p99_s` is of the measured latencies."""
    if generator.cpu_share > CPU_SHARE:
        return (
            f"the load generator was the limit: it used {generator.cpu_share:.0%} of the one core that it can use, "
            "so that the server may be faster than these figures say"
        )
    bearable_s = max(LAG_S, LAG_SHARE * (p99_s or 0.0))
    if plan.open_loop and generator.lag_p99_s > bearable_s:
        return (
            f"the load generator was the limit: 1 % of its requests left {_ms(generator.lag_p99_s)} or more after "
            "they were due, which these latencies include; the machine is too busy for this rate"
        )
    return ""


def limit_words(limit: str, generator: Generator) -> str:
    """What `limit_of` says, in a few words for a row of a table; empty where it says nothing."""
    if not limit:
        return ""
    if generator.cpu_share > CPU_SHARE:
        return f"generator at its limit, {generator.cpu_share:.0%} of its core"
    return f"late generator, 1 % left {_ms(generator.lag_p99_s)} or more after their time"


def notes_on(plan: Plan, generator: Generator, server: Sequence[ServerSecond], same_machine: bool) -> tuple[str, ...]:
    """Other things that a reader should know, each one sentence."""
    found: list[str] = []
    if generator.held_back and plan.open_loop:
        found.append(
            f"all {plan.connections} connections were busy: {generator.held_back} requests waited in the generator for "
            f"one, up to {_ms(generator.held_back_max_s)}, which their latencies include"
        )
    if same_machine and (shares := [each.machine["cpu"] for each in server if "cpu" in each.machine]):
        busy = sum(shares) / len(shares)
        if busy > MACHINE_SHARE and generator.cpu_share > 0.1:
            found.append(
                f"the generator and the server shared one machine, whose cores were {busy:.0%} busy, "
                f"{generator.cpu_share:.1f} of them with the generator: alone the server may manage more"
            )
    return tuple(found)


def _ms(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2g} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.2g} ms"
