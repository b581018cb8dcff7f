"""Translates what a user types for a model's settings into those of `ModelConfig`, checked before they are sent."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping

from workbench.config import ModelConfig, model_config
from workbench.errors import InvalidInput

SHORT_NAMES: Mapping[str, str] = {
    "max_batch": "max_batch_size",
    "delay": "max_queue_delay_s",
    "queue": "max_queue_size",
    "threads": "intra_op_threads",
}
"""Short names that may be typed, and the settings that they mean."""

_DURATION = re.compile(r"\s*([0-9.eE+-]+)\s*(us|ms|s)?\s*")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0}


def settings_from(given: Mapping[str, object]) -> dict[str, object]:
    """`given` without its None values, by full names and of the settings' own types.

    Short names and hyphens are understood; a duration is a number of seconds, or a text with its unit. Raises
    InvalidInput for an unknown setting (with the nearest one), one given twice, a wrong type or one out of range.
    """
    known = [field.name for field in dataclasses.fields(ModelConfig)]
    settings: dict[str, object] = {}
    for typed, value in given.items():
        if value is None:
            continue
        name = typed.replace("-", "_")
        name = SHORT_NAMES.get(name, name)
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *SHORT_NAMES], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; the settings are {', '.join(known)}"
            raise InvalidInput(f"there is no setting {typed[:80]!r}{hint}")
        if name in settings:
            raise InvalidInput(f"{name} is given twice, once as {typed!r}")
        settings[name] = duration_s(typed, value) if name.endswith("_s") else value
    checked = model_config(settings)
    return {name: getattr(checked, name) for name in settings}


def duration_s(name: str, value: object) -> object:
    """Seconds of "5ms", "200us", "0.005s" or a number.

    A text needs its unit, unless `name` says it (max_queue_delay_s) or it is 0: "5" would be 5 ms to one reader and
    5 s to another.
    """
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value)
    try:
        number = float(match[1]) if match else None
    except ValueError:
        number = None
    if match is None or number is None:
        raise InvalidInput(f"{name} must be a time such as 5ms, 200us or 0.005s, got {value[:40]!r}")
    if match[2] is None and number and not name.endswith("_s"):
        raise InvalidInput(f"{name} needs a unit: {match[1]}ms, {match[1]}us or {match[1]}s")
    return number * _SECONDS[match[2]]
