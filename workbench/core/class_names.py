"""What the columns of a classifier's scores are called, in the metadata of its ONNX file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

METADATA_KEY: Final = "workbench.classes"
"""The key of the metadata: a JSON object, output -> the names of its columns, in order."""

MAX_CLASSES: Final = 10_000
MAX_NAME: Final = 200


def encode_classes(output: str, classes: Iterable[object]) -> str:
    """Of `output`; each class by its text, as it is in `label`."""
    return json.dumps({output: [str(each)[:MAX_NAME] for each in classes]}, ensure_ascii=False)


def decode_classes(text: str) -> Mapping[str, tuple[str, ...]]:
    """Empty for what `encode_classes` would not have written, since anybody may write metadata."""
    try:
        found = json.loads(text)
        columns = {output: tuple(names) for output, names in found.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}
    names = [name for each in columns.values() for name in each]
    fits = len(names) <= MAX_CLASSES and all(isinstance(name, str) and len(name) <= MAX_NAME for name in names)
    return columns if fits else {}
