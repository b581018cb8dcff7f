"""What the records of a comparison amount to: medians with their range, and ratios round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.measure import ECHO, OURS, Case, Record


@dataclass(frozen=True, slots=True)
class Middle:
    """The median of rounds, and the least and greatest of them.

    That range needs no assumption: it holds the true median with probability 1 - 2^(1-n), for 5 rounds 94 %.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Middle:
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])


@dataclass(frozen=True, slots=True)
class Setting:
    """A server as it was run."""

    server: str
    delay: str
    workers: int
    encoding: str


class Figures:
    """Read-only questions to the records of one comparison."""

    def __init__(self, records: Record) -> None:
        self.records = records
        self._rounds: dict[tuple[Setting, Case], dict[int, Record]] = {}
        for load in records["loads"]:
            setting = Setting(load["server"], load["delay"], load["workers"], load["encoding"])
            case = Case(load["model"], load["encoding"], load["connections"])
            self._rounds.setdefault((setting, case), {})[load["round"]] = load

    def names(self) -> dict[str, str]:
        return {OURS: "Workbench", ECHO: "bare uvicorn echo"} | {
            peer["key"]: peer["name"] for peer in self.records["peers"]
        }

    def settings(self, case: Case) -> list[Setting]:
        return [setting for setting, each in self._rounds if each == case]

    def of(self, setting: Setting, case: Case, value: str) -> Middle | None:
        """`value` is a field of a load; None where it was not measured, or had errors in each round."""
        good = [load[value] for load in self._rounds.get((setting, case), {}).values() if not load["errors"]]
        return Middle.of(good) if good else None

    def errors(self, setting: Setting, case: Case) -> int:
        return sum(load["errors"] for load in self._rounds.get((setting, case), {}).values())

    def own(self, server: str, case: Case) -> Setting:
        """Of ours, or of the echo."""
        return Setting(server, "", 1, case.encoding)

    def best(
        self, case: Case, value: str = "requests_per_s", better: Callable[..., Any] = max
    ) -> tuple[Setting, Case] | None:
        """The best peer by its median. A JSON load is compared within JSON; for a binary one each peer has whatever
        encoding serves it best."""
        ours = (OURS, ECHO)
        cases = [case] if case.encoding == "json" else [case, Case(case.model, "json", case.connections)]
        measured = [
            (middle.value, setting, each)
            for each in cases
            for setting in self.settings(each)
            if setting.server not in ours and (middle := self.of(setting, each, value))
        ]
        if not measured:
            return None
        _, setting, found = better(measured, key=lambda one: one[0])
        return setting, found

    def ratio(
        self, above: tuple[Setting, Case], below: tuple[Setting, Case], value: str = "requests_per_s"
    ) -> Middle | None:
        """Round by round."""
        first, second = self._rounds.get(above, {}), self._rounds.get(below, {})
        shared = [
            first[r][value] / second[r][value]
            for r in first.keys() & second.keys()
            if not first[r]["errors"] and not second[r]["errors"]
        ]
        return Middle.of(shared) if shared else None

    def of_bare(self, case: Case) -> Middle | None:
        """Our rows/s as a share of the best that bare `session.run` made in the same round."""
        bare = {each["round"]: each["best"] for each in self.records["bare"] if each["model"] == case.model}
        rounds = self._rounds.get((self.own(OURS, case), case), {})
        shared = [load["requests_per_s"] / bare[r] for r, load in rounds.items() if r in bare]
        return Middle.of(shared) if shared else None

    def memory(self, server: str) -> Middle | None:
        """Bytes, all its processes together, after its first requests, with every model it served at once."""
        found = [each["bytes"] for each in self.records["memory"] if each["server"] == server]
        return Middle.of(found) if found else None

    def open_loops(self) -> list[tuple[str, str, str, list[tuple[Record, Record]]]]:
        """(model, encoding, peer, [(ours, theirs) of each round])."""
        found: dict[tuple[str, str, str], list[tuple[Record, Record]]] = {}
        loops: Sequence[Record] = self.records["open"]
        for theirs in loops:
            for ours in loops:
                same = all(ours[name] == theirs[name] for name in ("model", "round", "encoding"))
                if same and ours["server"] == OURS and theirs["server"] != OURS:
                    key = (theirs["model"], theirs["encoding"], theirs["server"])
                    found.setdefault(key, []).append((ours, theirs))
        return [(*key, pairs) for key, pairs in found.items()]
