"""Where a model came from: what was exported, by which versions, when, and how its answers were checked."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import msgspec

from workbench.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One output of an export beside the original's, over all rows on which they were compared."""

    name: str
    rows: int
    over: int = 0
    """Rows that differ by more than the tolerance."""
    flips: int = 0
    """Labels that differ, those of rows that the original itself finds undecided included."""
    nan: int = 0
    """Values that are NaN, or no number, in one of the two only."""
    largest: float | None = 0.0
    """The largest absolute difference; None for labels and text, and where there is no finite one."""
    relative: float | None = 0.0
    """The same as a share of the output's largest value."""


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """How the answers of an export were compared with those of the object itself."""

    agrees: bool
    rows: int
    made_up: bool
    """True: the rows were made up, because the user gave none."""
    tolerance: float
    """As a share of an output's largest value."""
    summary: str
    """One clause, as "labels equal, max |diff| 1.4e-7 on 32 rows"."""
    outputs: tuple[OutputCheck, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """The record that is kept with a model and shown with it."""

    source: str
    """The object, as a user calls it: "Pipeline of StandardScaler and SVC"."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library -> version."""
    exported_at: float = 0.0
    """Unix time."""
    notes: tuple[str, ...] = ()
    """Remarks of the export, each one clause."""
    check: AnswerCheck | None = None


MAX_BYTES: Final = 32 * 1024
"""The most bytes of a record, as JSON."""
MAX_TEXT: Final = 200
MAX_ENTRIES: Final = 16
"""The most versions, notes and outputs of a record; the first ones are kept."""

METADATA_KEY: Final = "workbench.provenance"
"""The key of the record, as JSON, in the metadata_props of an exported ONNX file."""
MAX_BATCH_KEY: Final = "workbench.max_batch_size"
"""The key of the most rows of a batch, in the metadata_props of an exported ONNX file."""
MOST_BATCH_ROWS: Final = 65_536
"""What the setting max_batch_size takes at most."""
CARD_KEY: Final = "workbench.card"
"""The key of the same as Markdown, with what else is known of the model."""


def encode(provenance: Provenance) -> bytes:
    """As JSON. Longer texts and lists than a record may have are cut."""
    return msgspec.json.encode(_cut(provenance))


def decode(data: bytes) -> Provenance:
    """Raises InvalidInput for what is no record, or one that `encode` would not have written."""
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"the record of a model has at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        return checked(msgspec.json.decode(data, type=Provenance))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the record of the model does not fit: {str(error)[:200]}") from None


def checked(provenance: Provenance) -> Provenance:
    """`provenance`, when it keeps to the limits of a record; InvalidInput otherwise."""
    numbers = [provenance.exported_at, *_numbers(provenance.check)]
    if provenance != _cut(provenance) or not all(math.isfinite(number) and 0 <= number < 2**53 for number in numbers):
        raise InvalidInput(
            f"the record of the model has a text over {MAX_TEXT} characters, over {MAX_ENTRIES} versions, notes or "
            "outputs, or a number that is negative, too large or no number"
        )
    return provenance


def _numbers(check: AnswerCheck | None) -> Iterator[float]:
    if check is not None:
        yield from (check.rows, check.tolerance)
        for output in check.outputs:
            yield from (output.rows, output.over, output.flips, output.nan, output.largest or 0, output.relative or 0)


def _cut(provenance: Provenance) -> Provenance:
    check = provenance.check
    if check is not None:
        outputs = tuple(replace(each, name=each.name[:MAX_TEXT]) for each in check.outputs[:MAX_ENTRIES])
        check = replace(check, summary=check.summary[:MAX_TEXT], outputs=outputs)
    return replace(
        provenance,
        source=provenance.source[:MAX_TEXT],
        versions={
            name[:MAX_TEXT]: version[:MAX_TEXT] for name, version in islice(provenance.versions.items(), MAX_ENTRIES)
        },
        notes=tuple(note[:MAX_TEXT] for note in provenance.notes[:MAX_ENTRIES]),
        check=check,
    )


def told(provenance: Provenance) -> str:
    """One line: "LogisticRegression (scikit-learn 1.9.1, skl2onnx 1.20.0), 2026-12-02 08:49"."""
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(provenance.exported_at)) if provenance.exported_at else ""
    return ", ".join(filter(None, [f"{provenance.source} ({versions})" if versions else provenance.source, when]))
