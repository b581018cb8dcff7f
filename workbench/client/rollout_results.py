"""A rollout as notebooks and the command line have it: how it stands, and what to do with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from workbench.client import sync
from workbench.client.client import AsyncClient
from workbench.client.formatting import text_lines
from workbench.client.table import Column, Table, heading_html, output_html
from workbench.core.durations import parse_seconds
from workbench.core.rollout_view import RolloutView
from workbench.errors import InvalidInput

LOOK_S = 0.5

_HEAD = ("guard", "finding", Column("measured", width_em=24), Column("calls", number=True))


class Rollout:
    """The last rollout of a model. What it shows is how it stood at the last `.status`, `.stop()` or `.wait()`."""

    def __init__(self, client: AsyncClient, found: RolloutView) -> None:
        self._client = client
        self._found = found

    @property
    def status(self) -> str:
        """ "running", "halted", "rolled back", "stopped" or "done": now."""
        return self.refresh().view.status

    @property
    def view(self) -> RolloutView:
        """All figures, as of the last look."""
        return self._found

    @property
    def reason(self) -> str:
        """Why it does not run any more; empty while it does."""
        return self._found.reason

    def refresh(self) -> Rollout:
        """Ask how it stands."""
        self._found = sync.run(self._client.rollout(self._found.model))
        return self

    def stop(self) -> Rollout:
        """End it: its version gets no calls but those that name it. Raises Conflict where it is over."""
        self._found = sync.run(self._client.stop_rollout(self._found.model))
        return self

    def resume(self) -> Rollout:
        """Begin the step again in which it was halted. Raises Conflict where it was not."""
        self._found = sync.run(self._client.resume_rollout(self._found.model))
        return self

    def wait(self, timeout_s: float | None = None) -> Rollout:
        """Wait until it does not run any more. Raises TimeoutError after `timeout_s`; it goes on all the same."""
        self._found = sync.run(self._over(timeout_s))
        return self

    async def _over(self, timeout_s: float | None) -> RolloutView:
        async with asyncio.timeout(timeout_s):
            while True:
                found = await self._client.rollout(self._found.model)
                if found.status != "running":
                    return found
                await asyncio.sleep(LOOK_S)

    def _title(self) -> str:
        found = self._found
        text = f"rollout of {found.model}, {found.told}"
        if found.status != "running":
            return text
        left_s = found.step_ends_at - time.time()
        more = f"{_spelled(left_s)} left" if left_s > 0 else "waiting until there is enough to tell"
        guard = "" if found.clauses else f"; guard {found.guard}, not looked at yet"
        return f"{text}; {more}{guard}{f'; {found.reason}' if found.reason else ''}"

    def _cells(self) -> Iterator[list[str]]:
        for each in self._found.clauses:
            yield [each.clause, each.finding, each.measured or "-", f"{each.calls:,}"]

    def __repr__(self) -> str:
        table = Table(_HEAD, list(self._cells()))
        return "\n".join([text_lines([self._title()]), *([table.text()] if table else [])])

    def _repr_html_(self) -> str:
        table = Table(_HEAD, list(self._cells()))
        return output_html(heading_html(self._title()) + (table.html() if table else ""))


def _spelled(seconds: float) -> str:
    """Format 45 as `45 s`, 250 as `4 min 10 s`, 90000 as `25 h`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return " ".join([*([f"{minutes} min"] if minutes else []), *([f"{rest} s"] if rest or not minutes else [])])


def steps_from(steps: Sequence[float] | str) -> list[float]:
    """The parts of the calls: of 0.01, or of a text with percents as "1,10,50,100". Raises InvalidInput."""
    try:
        if isinstance(steps, str):
            return [float(each.strip().removesuffix("%")) / 100 for each in steps.split(",")]
        return [float(each) for each in steps]
    except (TypeError, ValueError):
        raise InvalidInput(
            f"steps are parts of the calls, as [.01, .1, .5, 1] or '1,10,50,100', got {steps!r:.60}"
        ) from None


def seconds_from(every: float | str) -> float:
    """The time of a step in seconds. Raises InvalidInput."""
    return parse_seconds("every", every, ("s", "m", "h", "d"))
