"""Reads what a function takes and gives from its annotations: texts in the form in which messages show tensors.

    def predict(x: "FP32[-1,4]", name: "TEXT[-1]") -> "label INT64[-1], score FP32[-1,2]": ...

-1 is an axis of any size; BYTES elements are `bytes`, those of TEXT `str`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from types import FunctionType

from workbench.core.tensor import BYTES, DTYPES
from workbench.errors import InvalidInput
from workbench.functions.function_bundle import ValueSpec

_ONE = re.compile(r"(?:([A-Za-z_]\w*)\s+)?([A-Z]+\d*)\s*\[([-\d,\s]*)\]")


def annotated_inputs(function: FunctionType, names: Sequence[str]) -> dict[str, ValueSpec]:
    """The inputs that are annotated so. InvalidInput for an annotation that begins so and cannot be read."""
    found = {}
    for name in names:
        specs = _read(function.__annotations__.get(name), name)
        if specs and len(specs) == 1:
            found[name] = specs[0]
    return found


def annotated_outputs(function: FunctionType) -> tuple[ValueSpec, ...] | None:
    """The outputs, where they are annotated so."""
    return _read(function.__annotations__.get("return"), "output")


def _read(annotation: object, name: str) -> tuple[ValueSpec, ...] | None:
    if not isinstance(annotation, str):
        return None
    if annotation[:1] in "'\"":  # of a module with `from __future__ import annotations`
        annotation = str(ast.literal_eval(annotation))
    parts = re.split(r",(?![^\[]*\])", annotation)
    matches = [_ONE.fullmatch(part.strip()) for part in parts]
    if not any(matches):
        return None
    specs = []
    for index, (part, match) in enumerate(zip(parts, matches, strict=True)):
        kind = match[2] if match else ""
        if match is None or (kind not in DTYPES and kind != "TEXT"):
            raise InvalidInput(
                f"the annotation {part.strip()[:60]!r} is not read as NAME DATATYPE[SIZES], as 'FP32[-1,4]'; the "
                f"datatypes are TEXT, {', '.join(DTYPES)}"
            )
        default = name if len(parts) == 1 else f"{name}_{index}"
        try:
            shape = tuple(int(size) for size in match[3].split(",") if size.strip())
        except ValueError:
            raise InvalidInput(f"the sizes of {part.strip()[:60]!r} are whole numbers, and -1 where any fits") from None
        datatype = BYTES if kind == "TEXT" else kind
        specs.append(ValueSpec(match[1] or default, datatype, shape, text=kind == "TEXT"))
    return tuple(specs)
