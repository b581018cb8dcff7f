"""Reads a sweep as a user writes it into all combinations of settings. Pure.

"batch,delay" tries values around those in force; "batch=1:8:32,delay=0:2ms" names them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from workbench.client.model_settings import settings_from
from workbench.config import LIVE_SETTINGS, ModelConfig
from workbench.errors import InvalidInput

MOST_POINTS = 48

SHORT: Mapping[str, str] = {"batch": "max_batch_size"}
"""Short names in addition to those of client.model_settings."""

_TYPED: Mapping[str, str] = {
    "max_batch_size": "batch",
    "max_queue_delay_s": "delay",
    "max_queue_size": "queue",
}

EXAMPLE = "batch=1:8:32,delay=0:2ms"

Settings = dict[str, object]


def grid_of(asked: str | Mapping[str, Sequence[object]], config: ModelConfig, cores: int) -> list[Settings]:
    """The combinations, the first name changing slowest. Raises InvalidInput for settings that need a reload."""
    named = _read(asked) if isinstance(asked, str) else {name: list(values) for name, values in asked.items()}
    if not named:
        raise InvalidInput(f"a sweep needs a setting to change, as {EXAMPLE}")
    columns: dict[str, list[object]] = {}
    for name, values in named.items():
        full = SHORT.get(name, name)
        if not values:
            values = _usual(full, name, config, cores)
        checked = [settings_from({full: value}) for value in values]
        (setting,) = checked[0]
        if setting not in LIVE_SETTINGS:
            raise InvalidInput(
                f"{setting} cannot change without a reload, so a sweep cannot try it; these can: "
                f"{', '.join(LIVE_SETTINGS)}"
            )
        if setting in columns:
            raise InvalidInput(f"{setting} is given twice in a sweep")
        columns[setting] = [each[setting] for each in checked]
    points = [dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())]
    if len(points) > MOST_POINTS:
        raise InvalidInput(f"a sweep of {len(points)} combinations takes too long; {MOST_POINTS} are the most")
    return points


def label_of(settings: Mapping[str, object]) -> str:
    """ "batch=8, delay=2ms", as a user would write it."""
    return ", ".join(f"{short_name(name)}={_value(name, value)}" for name, value in settings.items())


def short_name(setting: str) -> str:
    """The name of a setting in a sweep: "batch" for max_batch_size."""
    return _TYPED.get(setting, setting)


def _value(setting: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value * 1e3:g}ms" if setting in _TYPED and value else f"{value:g}"


def _read(text: str) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for part in text.replace(",", " ").split():
        name, said, values = part.partition("=")
        if not name or (said and not all(values.split(":"))):
            raise InvalidInput(f"a setting to sweep looks like batch or batch=1:8:32, got {part[:80]!r}")
        if name in found:
            raise InvalidInput(f"{name} is given twice in a sweep")
        found[name] = list(values.split(":")) if said else []
    return found


def _usual(setting: str, typed: str, config: ModelConfig, cores: int) -> list[object]:
    """Values to try where none were named."""
    setting = {"delay": "max_queue_delay_s", "queue": "max_queue_size", "max_batch": "max_batch_size"}.get(
        setting, setting
    )
    usual: dict[str, set[float]] = {
        "max_batch_size": {1, 4, 16, config.max_batch_size},
        "max_queue_delay_s": {0.0, 0.001, 0.005, config.max_queue_delay_s},
        "instances": {1, cores, config.instances},
        "max_queue_size": {16, 128, config.max_queue_size},
    }
    if setting not in usual:
        raise InvalidInput(
            f"say which values of {typed} to try, as {typed}=A:B:C; usual ones are known of {', '.join(usual)}"
        )
    return [*sorted(usual[setting])]
