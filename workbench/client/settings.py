"""A user's words for a model's settings -> the settings of `ModelConfig`, checked before anything is sent."""

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
"""What may be typed -> the setting that is meant."""

_DURATION = re.compile(r"\s*([0-9.eE+-]+)\s*(us|ms|s)?\s*")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, None: 1.0}


def settings_from(given: Mapping[str, object]) -> dict[str, object]:
    """`given` without its None values, by full names and of the settings' own types.

    Short names and hyphens are understood; a duration is seconds, or a text like "5ms". Raises InvalidInput for an
    unknown setting (with the nearest one), one given twice, a wrong type or one out of range.
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
        settings[name] = duration_s(name, value) if name.endswith("_s") else value
    checked = model_config(settings)
    return {name: getattr(checked, name) for name in settings}


def duration_s(name: str, value: object) -> object:
    """Seconds of "5ms", "200us", "0.005" or a number; what is no duration comes back for the setting's own check."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        try:
            return float(match[1]) * _SECONDS[match[2]]
        except ValueError:
            raise InvalidInput(f"{name} takes seconds or a text like '5ms'; {value[:40]!r} is neither") from None
    return value
