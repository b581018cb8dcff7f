"""Names for versions, which move between them: what may be one, and which version is meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from workbench.errors import InvalidInput

MOST_LABELS = 32
"""Of one model."""

_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
_LIKE_A_VERSION = re.compile(r"[vV][0-9].*")


def check_label(label: str) -> str:
    """`label`, when it may name a version and cannot be taken for a number; InvalidInput otherwise."""
    if label.isdigit() or _LIKE_A_VERSION.fullmatch(label):
        raise InvalidInput(
            f"the label {label[:40]!r} looks like a version: call it stable, canary, or a word of your own"
        )
    if not _LABEL.fullmatch(label):
        raise InvalidInput(
            f"{label[:80]!r} cannot be a label: use letters, digits, '_', '-' and '.', 64 at most, a letter first"
        )
    return label


def version_meant(text: str) -> str:
    """The version of "2" or "v2"."""
    return text[1:] if _LIKE_A_VERSION.fullmatch(text) else text


def moved(labels: Mapping[str, str], changes: Mapping[str, str | None], loaded: Collection[str]) -> dict[str, str]:
    """`labels` once each of `changes` points to its version; None takes the label away. InvalidInput for a label that
    cannot be one, or that is not there to be taken away, or for a version that is not among `loaded`."""
    after = dict(labels)
    for label, version in changes.items():
        check_label(label)
        if version is None:
            if label not in after:
                raise InvalidInput(f"there is no label {label!r}; the labels are {', '.join(sorted(after)) or 'none'}")
            del after[label]
        elif (meant := version_meant(version)) in loaded:
            after[label] = meant
        else:
            there = ", ".join(sorted(loaded, key=int)) or "none"
            raise InvalidInput(
                f"label {label!r} cannot point to version {version[:20]!r}, which is not Ready (Ready: {there}): load "
                "it first"
            )
    if len(after) > MOST_LABELS:
        raise InvalidInput(f"a model may have {MOST_LABELS} labels, and these would be {len(after)}")
    return after
