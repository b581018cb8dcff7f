"""What a model over a table says of its columns beside their types, in the metadata of its ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from workbench.core.model import Signature

MISSING_TEXT = "<NA>"
"""What stands for a missing text in a BYTES input, which cannot hold None or NaN; pandas prints a missing value so."""

MISSING_NUMBER = "NaN"
"""What a missing number is sent as."""

REFUSED = "refused"
"""What is said of an input in which no value may be missing."""

CATEGORY_OF = "category of "
"""What the name of a node begins with that looks up a category; the column's name in quotes follows."""

METADATA_KEY = "workbench.columns"
"""The key of the metadata, which are JSON: `missing`, input -> one of the above; `ignored`, columns that are not read;
`columns`, input -> the names of its columns, in order."""


def encode_columns(missing: Mapping[str, str], ignored: Sequence[str], columns: Mapping[str, Sequence[str]]) -> str:
    told = {"missing": dict(missing), "ignored": list(ignored), "columns": {k: list(v) for k, v in columns.items()}}
    return json.dumps(told, sort_keys=True, ensure_ascii=False)


def with_columns(signature: Signature, text: str) -> Signature:
    """`signature` with what the metadata say; as it is where they have another form, since anybody may write them."""
    try:
        found = json.loads(text)
        missing, ignored, columns = found["missing"], found["ignored"], found["columns"]
        texts = [*missing.values(), *ignored, *(name for names in columns.values() for name in names)]
        if not all(isinstance(each, str) for each in texts):
            return signature
        inputs = tuple(
            replace(spec, missing=missing.get(spec.name, ""), columns=tuple(columns.get(spec.name, ())))
            for spec in signature.inputs
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return signature
    return Signature(inputs, signature.outputs, tuple(ignored))
