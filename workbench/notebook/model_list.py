"""The list of models of `wb.panel()`: the order and the words of JupyterLab's side panel. Pure.

labextension/src/modelList/modelOrder.ts and modelSearch.ts say the same for the side panel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from workbench.visible_text import visible

ASKED_FOR_S: Final = 120.0
"""A model counts as asked for this long after its last request, so that it does not come and go."""

FILTER_FROM: Final = 8
"""From this many models on there is a filter box."""

MOST_OF_NAME: Final = 48
"""The most characters of a name on its line; the card has the whole."""

_WORDS: Final = {"Loading": "Loading…", "Warming": "Warming up…", "Draining": "Draining…"}

Statuses = Sequence[Mapping[str, Any]]
"""Of the versions of one model, as docs/http.md, STATUS."""


class Rank(IntEnum):
    """Models of a lower rank stand first."""

    TROUBLE = 0
    """It failed, or its calls are refused."""
    ASKED = 1
    UNDER_WAY = 2
    """It loads, warms up or drains."""
    IDLE = 3


def current(versions: Statuses) -> Mapping[str, Any]:
    """The version that answers calls without a version; else the last one."""
    return next((each for each in versions if each["routed"]), versions[-1])


def rank_of(versions: Statuses, asked_at: float, now: float) -> Rank:
    """The rank of a model that was asked last at `asked_at`, which is 0 if that is not known."""
    status = current(versions)
    if status["state"] == "Failed" or _refused(status):
        return Rank.TROUBLE
    if asked_at > 0 and now - asked_at < ASKED_FOR_S:
        return Rank.ASKED
    return Rank.UNDER_WAY if any(each["state"] in _WORDS for each in versions) else Rank.IDLE


def arranged(models: Mapping[str, Statuses], asked_at: Mapping[str, float], now: float) -> list[str]:
    """The names: busy and failed first, then by name."""
    return sorted(models, key=lambda name: (rank_of(models[name], asked_at.get(name, 0.0), now), name))


def filtered(names: Sequence[str], text: str) -> list[str]:
    """The names that contain every word of `text`; upper and lower case are the same."""
    words = text.lower().split()
    return [name for name in names if all(word in name.lower() for word in words)]


def line_of(name: str, versions: Statuses) -> str:
    """One line: a full dot for a model that is ready, the name, and what else there is to know."""
    status = current(versions)
    state = str(status["state"])
    shown = name if len(name) <= MOST_OF_NAME else f"{name[: MOST_OF_NAME - 1]}…"
    word = "circuit open" if _refused(status) else "" if state == "Ready" else _WORDS.get(state, state)
    parts = [f"{each['weight'] * 100:g} % to version {each['version']}" for each in versions if _is_part(each, status)]
    dot = "●" if state == "Ready" and not _refused(status) else "○"
    return visible(" · ".join([f"{dot} {shown}", *filter(None, [word]), *parts]))


def last_asked(models: Mapping[str, Mapping[str, Sequence[float | None]]]) -> dict[str, float]:
    """Of each model with requests in its history: the time of the last point in which there were some."""
    found = {}
    for name, columns in models.items():
        points = zip(columns.get("time", ()), columns.get("requests_per_s", ()), strict=False)
        if asked := [moment for moment, rate in points if moment and rate]:
            found[name] = asked[-1]
    return found


def _refused(status: Mapping[str, Any]) -> bool:
    circuit: Mapping[str, Any] = status.get("circuit") or {"state": "closed"}
    return bool(circuit["state"] != "closed")


def _is_part(version: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    return version is not status and 0 < (version.get("weight") or 0.0) < 1
