"""A circuit breaker for each caller of a model: the owner, and each share.

Inputs can make a model fail. If all callers had one breaker, a share that sends such inputs would close the model to
its owner and to other shares. So a caller is refused for how its own calls ended. Where the model itself is broken, all
callers are, each after its own first failures.
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.core.circuit import Circuit, CircuitState
from workbench.engine.circuit_breaker import BreakerPolicy, CircuitBreaker

OWNER = ""
"""The owner, as a caller."""

_RANK = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}


class CallerBreakers:
    """The breakers of one loaded version. Belongs to one thread; `now` comes from one clock.

    A caller has one only while some of its latest calls ended badly, so callers without trouble cost nothing. That of a
    caller who comes no more is forgotten.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._breakers: dict[str, CircuitBreaker] = {}
        self._opened = 0
        self.configure(policy)

    @property
    def watching(self) -> bool:
        """True: some caller has trouble, so each call has to ask `admit`, and each end is to be told to `record`."""
        return bool(self._breakers)

    def configure(self, policy: BreakerPolicy) -> None:
        """Take another policy; one that never opens closes all."""
        self._policy = policy
        self.slow_call_s = policy.slow_call_s if policy.failure_rate and policy.slow_call_s else float("inf")
        for breaker in self._breakers.values():
            breaker.configure(policy)
        self._forget_calm_ones(float("-inf"))

    def admit(self, caller: str, now: float) -> tuple[float, str]:
        """(0, "") where a call of `caller` may go through; else for how many seconds none will, and why."""
        self._forget_calm_ones(now)
        breaker = self._breakers.get(caller)
        if breaker is None or not breaker.engaged:
            return 0.0, ""
        reason = breaker.told().reason
        return breaker.admit(now), reason

    def record(self, now: float, callers: Mapping[str, int], failed: bool, slow: bool) -> list[str]:
        """Note that a run ended which answered so many calls of each caller, and whether it failed or was slow. What
        opened or closed by it, each in a phrase."""
        changed = []
        for caller, calls in callers.items():
            breaker = self._breakers.get(caller)
            if breaker is None:
                if not (failed or slow):
                    continue
                breaker = self._breakers[caller] = CircuitBreaker(self._policy)
            if breaker.record(now, calls, calls if failed else 0, calls if slow else 0):
                told = breaker.told()
                self._opened += told.state is CircuitState.OPEN
                changed.append(_said(told, caller) if told.reason else f"closed{_whose(caller)}: it answers again")
        self._forget_calm_ones(now)
        return changed

    def told(self, now: float) -> Circuit:
        """What the status says: the worst of all callers' breakers, the owner's before others."""
        engaged = [caller for caller, each in self._breakers.items() if each.engaged and not each.is_stale(now)]
        if not engaged:
            return Circuit(opened=self._opened)
        callers = sorted(engaged, key=lambda caller: (-_RANK[self._breakers[caller].told().state], caller))
        worst = self._breakers[callers[0]].told()
        others = len(callers) - 1
        more = f", and those of {others} more" if others else ""
        return Circuit(worst.state, f"{worst.reason}{_whose(callers[0])}{more}", self._opened)

    def _forget_calm_ones(self, now: float) -> None:
        calm = [caller for caller, each in self._breakers.items() if not each.watching or each.is_stale(now)]
        for caller in calm:
            del self._breakers[caller]


def _said(told: Circuit, caller: str) -> str:
    return f"{told.state}{_whose(caller)}, {told.reason}"


def _whose(caller: str) -> str:
    return f" for share {caller}" if caller != OWNER else ""
