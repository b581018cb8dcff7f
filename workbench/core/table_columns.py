"""What a model over a table says of its columns beside their types, in the metadata of its ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from workbench.core.model import Signature

MISSING_TEXT = "<NA>"
"""What stands for a missing text in a BYTES input, which cannot hold None or NaN; pandas prints a missing value so."""

MISSING_NUMBER = "NaN"
"""What a missing number is sent as."""

REFUSED = "refused"
"""What is said of an input in which no value may be missing."""

METADATA_KEY = "workbench.columns"
"""The key of the metadata; its value is JSON: `missing`, input -> one of the above; `ignored`, columns not read."""


def encode_columns(missing: Mapping[str, str], ignored: tuple[str, ...]) -> str:
    return json.dumps({"missing": dict(missing), "ignored": list(ignored)}, sort_keys=True, ensure_ascii=False)


def with_columns(signature: Signature, text: str) -> Signature:
    """`signature` with what the metadata say; as it is where they have another form, since anybody may write them."""
    try:
        found = json.loads(text)
        missing, ignored = found["missing"], found["ignored"]
        if not isinstance(missing, dict) or not all(isinstance(each, str) for each in (*missing.values(), *ignored)):
            return signature
    except (ValueError, KeyError, TypeError, RecursionError):
        return signature
    inputs = tuple(replace(spec, missing=missing.get(spec.name, "")) for spec in signature.inputs)
    return Signature(inputs, signature.outputs, tuple(ignored))
