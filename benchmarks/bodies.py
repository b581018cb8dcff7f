"""One row as the Open Inference Protocol sends it, as JSON and with binary tensors, and the row in an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import Body
from benchmarks.models import LARGE, SMALL

Row = NDArray[np.float32]

FEATURES = {"small": SMALL[0], "large": LARGE[0]}
HEADER_LENGTH = "Inference-Header-Content-Length"


def rows_of(model: str, count: int) -> Row:
    """[count, features], each a different row, short in decimal."""
    rows = np.random.default_rng(1).standard_normal((count, FEATURES[model]))
    return rows.round(3).astype(np.float32)


def numbers(row: Row) -> list[float]:
    """The row's values as people would write them."""
    return [round(float(value), 3) for value in row]


def oip_body(row: Row, encoding: str, headers: Mapping[str, str] | None = None) -> Body:
    """`encoding` is "json" or "binary"."""
    given = dict(headers or {})
    tensor: dict[str, object] = {"name": "x", "shape": [1, len(row)], "datatype": "FP32"}
    if encoding == "json":
        content = json.dumps({"inputs": [{**tensor, "data": numbers(row)}]}).encode()
        return Body(content, {"Content-Type": "application/json", **given})
    raw = row.tobytes()
    tensor["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    length = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return Body(head + raw, {**length, **given})


def oip_row(answer: bytes, headers: Mapping[str, str]) -> Row:
    """The one output row; `headers` have names in lower case."""
    length = headers.get(HEADER_LENGTH.lower())
    if length is not None:
        return np.frombuffer(answer[int(length) :], np.float32)
    return np.asarray(json.loads(answer)["outputs"][0]["data"], np.float32).ravel()
