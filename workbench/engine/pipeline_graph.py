"""Which pipelines ask which models, all of them together: circles, and how many stages one request comes to. Pure.

Looked at by name, whatever version is routed to: of a name that has several versions, each may be the one that answers
next. So a later commit or swap can neither close a circle nor make a pipeline too large.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

MAX_NESTED = 8
"""Pipelines inside each other."""

MAX_STAGES = 256
"""Stages of one request, those of the pipelines inside counted one by one."""

Asks: TypeAlias = Mapping[str, Collection[Sequence[str]]]
"""Name of a pipeline -> of each of its versions, the models of its stages."""


def flaw(asks: Asks, name: str) -> str:
    """Why a version of the pipeline `name`, which is in `asks`, must not serve, as a sentence; empty: it may.

    Without that version there must be none."""
    if circle := _circle(asks, name):
        return f"its stages lead back to itself ({' > '.join(circle)})"
    stages: dict[str, int] = {}
    nested: dict[str, int] = {}
    for each in _inner_first(asks):
        versions = asks[each]
        inner = {model for models in versions for model in models}
        nested[each] = 1 + max((nested.get(model, 0) for model in inner), default=0)
        stages[each] = max(sum(stages.get(model, 1) for model in models) for models in versions)
        which = "it" if each == name else f"pipeline {each!r}, which asks it,"
        if stages[each] > MAX_STAGES:
            return f"{which} has {stages[each]} stages, of {MAX_STAGES} at most"
        if nested[each] > MAX_NESTED:
            return f"{which} has {nested[each]} pipelines inside each other, of {MAX_NESTED} at most"
    return ""


def _circle(asks: Asks, name: str) -> list[str]:
    """The names on a way from `name` to itself; empty: there is none."""
    came_from: dict[str, str] = {}
    left = [name]
    while left:
        asking = left.pop()
        for model in _inner(asks, asking):
            if model == name:
                way = [name, asking]
                while way[-1] != name:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if model not in came_from:
                came_from[model] = asking
                left.append(model)
    return []


def _inner_first(asks: Asks) -> Iterable[str]:
    """The pipelines, each after those that it asks. There is no circle in them."""
    ordered: dict[str, None] = {}
    for each in asks:
        left = [each]
        while left:
            if waits := [model for model in _inner(asks, left[-1]) if model in asks and model not in ordered]:
                left += waits
            else:
                ordered[left.pop()] = None
    return ordered


def _inner(asks: Asks, name: str) -> Iterable[str]:
    return dict.fromkeys(model for models in asks.get(name, ()) for model in models)
