"""Translates what a user types for a model's settings into those of `ModelConfig`, checked before they are sent."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping

from workbench.config import ModelConfig, model_config
from workbench.core.durations import parse_seconds
from workbench.errors import InvalidInput

SHORT_NAMES: Mapping[str, str] = {
    "max_batch": "max_batch_size",
    "delay": "max_queue_delay_s",
    "queue": "max_queue_size",
    "threads": "intra_op_threads",
}
"""Short names that may be typed, and the settings that they mean."""


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
    """Seconds of "5ms", "200us" or "0.005s"; what is no text is left as it is."""
    if not isinstance(value, str):
        return value
    return parse_seconds(name, value, ("us", "ms", "s"), bare=name.endswith("_s"))
