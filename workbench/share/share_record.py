"""What a share allows, and how its terms are read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from workbench.config.byte_size import bytes_of
from workbench.core.durations import parse_seconds
from workbench.core.model import check_model_name, check_model_version
from workbench.errors import InvalidInput

MAX_MODELS: Final = 32
"""Of one share."""

MAX_LIFE_S: Final = 366 * 86400.0

DEFAULT_IN_FLIGHT: Final = 16
"""Requests of one share that may be under way at once."""

MAX_RATE: Final = 1e6

MAX_QUOTA: Final = 10**12

MAX_BODY: Final = 2**40

_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RATE: Final = re.compile(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*(?:/\s*(s|min|m|h))?\s*")
_QUOTA: Final = re.compile(r"\s*(\d{1,13})\s*(?:/\s*(?:d|day))?\s*")
_PER_S: Final = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_BYTES: Final = re.compile(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*((?:[kKMG]i?)?B|)\s*")
_EXPIRY_UNITS: Final = ("s", "m", "min", "h", "d")


@dataclass(frozen=True, slots=True)
class ShareRecord:
    """One share, without its token."""

    id: str
    label: str
    models: tuple[str, ...]
    rate: float | None
    """Requests each second; None: as many as the service takes."""
    max_in_flight: int
    created_at: float
    """Unix time, as are all here."""
    expires_at: float
    revoked_at: float | None = None
    first_call_at: float | None = None
    """When it was first used for an inference; None: not yet."""
    row_rate: float | None = None
    """Rows each second; None: as many as the service takes."""
    quota: int | None = None
    """Inferences each UTC day; None: any number."""
    row_quota: int | None = None
    """Their rows each UTC day; None: any number."""
    version: str | None = None
    """The only version of its model that it calls; None: the one that serves."""
    max_body: int | None = None
    """Bytes of a body; None: as many as the service takes."""
    metrics: bool = False
    """It may read the metrics of its models."""
    suspended: Mapping[str, str] = field(default_factory=dict)
    """Models that it may not call any more, since its requests ended the service, and how."""


def check_label(value: object) -> str:
    """The label, checked. Raises InvalidInput."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise InvalidInput(f"label must be up to 64 letters, digits, '.', '_' or '-', got {str(value)[:80]!r}")
    return value


def check_models(values: Sequence[object]) -> tuple[str, ...]:
    """The models' names, checked, each once. Raises InvalidInput."""
    names = tuple(dict.fromkeys(check_model_name(value) if isinstance(value, str) else "" for value in values))
    if not names or "" in names:
        raise InvalidInput("a share needs the names of the models that it is for")
    if len(names) > MAX_MODELS:
        raise InvalidInput(f"a share takes {MAX_MODELS} models at most, got {len(names)}")
    return names


def parse_rate(value: object, name: str = "rate", of: str = "requests") -> float | None:
    """How many each second, of a number or a text such as "20/s" or "600/min"; None: no rate. Raises InvalidInput."""
    if value is None:
        return None
    rate = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        rate = float(value)
    elif isinstance(value, str) and (match := _RATE.fullmatch(value)) is not None:
        rate = float(match[1]) / _PER_S[match[2]]
    if not 0 < rate <= MAX_RATE:
        raise InvalidInput(f"{name} must be {of} a second above 0 (20, '20/s', '600/min'), got {str(value)[:40]!r}")
    return rate


def parse_quota(value: object, name: str = "quota", of: str = "requests") -> int | None:
    """How many each day, of a number or a text such as "10000/day"; None: any number. Raises InvalidInput."""
    if value is None:
        return None
    quota = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (match := _QUOTA.fullmatch(value)) is not None:
        quota = int(match[1])
    if not 0 < quota <= MAX_QUOTA:
        raise InvalidInput(
            f"{name} must be a whole number of {of} a day above 0 (10000, '10000/day'), got {str(value)[:40]!r}"
        )
    return quota


def check_version(value: object, models: Sequence[str]) -> str | None:
    """The version, of the only one of `models`. Raises InvalidInput."""
    if value is None:
        return None
    if len(models) > 1:
        raise InvalidInput(f"a version is one of one model, and the share is for {len(models)}: share each by itself")
    return check_model_version(str(value))


def parse_max_body(value: object) -> int | None:
    """Bytes, of a number or a text such as "1MB" or "64KiB"; None: no cap. Raises InvalidInput."""
    if value is None:
        return None
    size = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (match := _BYTES.fullmatch(value)) is not None:
        size = bytes_of(match[1], match[2])
    if not 0 < size <= MAX_BODY:
        raise InvalidInput(f"max_body must be bytes above 0 (100000, '1MB', '64KiB'), got {str(value)[:40]!r}")
    return size


def parse_life_s(value: object) -> float:
    """Seconds that a share lasts, of a number or a text such as "7d", "12h" or "30min". Raises InvalidInput."""
    life_s = parse_seconds("expires", value, _EXPIRY_UNITS)
    if not 0 < life_s <= MAX_LIFE_S:
        raise InvalidInput(f"expires must lie ahead, 366d at most, got {str(value)[:40]!r}")
    return life_s


def check_in_flight(value: object) -> int:
    """How many requests may be under way at once, checked. Raises InvalidInput."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 100_000:
        raise InvalidInput(f"max_in_flight must be a whole number from 1 to 100000, got {str(value)[:40]!r}")
    return value
