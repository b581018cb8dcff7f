"""Bodies that must be refused, for a model "mlp": one FP32 input "x" [-1, 16], one output "y" [-1, 16].

The codec alone refuses each of BAD_BODIES; NEEDS_MODEL follow the protocol, and only the engine can refuse them.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple


class Bad(NamedTuple):
    name: str
    body: bytes
    header_length: int | None
    status: int
    message: str
    """A fragment of the error's message."""


ROW = [0.5] * 16
RAW = struct.pack("<16f", *ROW)


def tensor(**changes: Any) -> dict[str, Any]:
    """A good input with `changes`; None drops a field."""
    found = {"name": "x", "shape": [1, 16], "datatype": "FP32", "data": ROW, **changes}
    return {key: value for key, value in found.items() if value is not None}


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs or [tensor()]), **more}).encode()


def _json(name: str, sent: bytes, message: str, status: int = 400) -> Bad:
    return Bad(name, sent, None, status, message)


def _binary(name: str, message: str, raw: bytes = RAW, size: Any = 64, status: int = 400, **changes: Any) -> Bad:
    head = body(tensor(**{"data": None, "parameters": {"binary_data_size": size}, **changes}))
    return Bad(name, head + raw, len(head), status, message)


def _length(name: str, header_length: int, message: str, status: int = 400) -> Bad:
    good = _binary("", "")
    return Bad(name, good.body, header_length, status, message)


def _data(name: str, datatype: str, value: Any, message: str) -> Bad:
    return _json(name, body(tensor(datatype=datatype, shape=[2], data=[1, value])), message)


def good_json() -> bytes:
    return body()


def good_binary() -> tuple[bytes, int]:
    good = _binary("", "")
    assert good.header_length is not None
    return good.body, good.header_length


BAD_BODIES: list[Bad] = [
    _json("empty", b"", "not valid JSON: it is empty"),
    _json("not JSON", b"hello", "not valid JSON"),
    _json("a list", b"[]", "does not follow the protocol"),
    _json("no inputs", b"{}", "inputs"),
    _json("trailing bytes", body() + b"x", "not valid JSON"),
    _json("nested 100,000 deep", b"[" * 100_000, "too deep"),
    _json("an unknown field nested 100,000 deep", b'{"z":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deep"),
    _json("an unknown field over the depth", b'{"inputs":[],"z":' + b"[" * 70 + b"]" * 70 + b"}", "max_json_depth"),
    _json("data over the depth", body().replace(b"[0.5", b"[" * 70 + b"0.5", 1), "not"),
    _json("not UTF-8 in a name", body().replace(b'"x"', b'"\xff"'), "UTF-8"),
    _json("not UTF-8 in data", body(tensor(datatype="BYTES", shape=[1], data=["@"])).replace(b"@", b"\xff"), "UTF-8"),
    _json(
        "not UTF-8 in nested data",
        body(tensor(datatype="BYTES", shape=[1, 1], data=[["@"]])).replace(b"@", b"\xff"),
        "UTF-8",
    ),
    _json("shape missing", body(tensor(shape=None)), "shape"),
    _json("datatype missing", body(tensor(datatype=None)), "datatype"),
    _json("unknown datatype", body(tensor(datatype="FP31")), "FP31"),
    _json("name missing", body(tensor(name=None)), "name"),
    _json("doubled input", body(tensor(), tensor()), "given twice"),
    _json("doubled output", body(outputs=[{"name": "y"}, {"name": "y"}]), "asked for twice"),
    _json("negative dimension", body(tensor(shape=[-1, 16])), "negative"),
    _json("overflowing dimensions", body(tensor(shape=[1 << 32, 1 << 32])), "max_elements", 413),
    _json("overflowing dimension beside a zero", body(tensor(shape=[0, 1 << 70], data=[])), "max_elements", 413),
    _json("a fraction as a dimension", body(tensor(shape=[1.5, 16])), "shape"),
    _json("too many dimensions", body(tensor(shape=[1] * 33, data=[1])), "dimensions"),
    _json("too few elements", body(tensor(data=ROW[:15])), "data has 15"),
    _json("too many elements", body(tensor(data=[*ROW, 1])), "data has 17"),
    _json("ragged", body(tensor(data=[[1, 2], [3]])), "ragged"),
    _json("numbers beside lists", body(tensor(data=[[1, 2], 3])), "does not fit FP32"),
    _json("lists beside numbers", body(tensor(data=[1, [2, 3]])), "ragged"),
    _json("data is a number", body(tensor(data=5)), "must be a list"),
    _json("neither data nor size", body(tensor(data=None)), "neither"),
    _json("a minus before NaN", body().replace(b"0.5", b"-NaN", 1), "not valid JSON"),
    _json("a plus before Infinity", body().replace(b"0.5", b"+Infinity", 1), "not valid JSON"),
    _json("NaN for a parameter", body(parameters={"a": "@"}).replace(b'"@"', b"NaN"), "does not follow the protocol"),
    _json("NaN for an id", body(id="@").replace(b'"@"', b"NaN"), "does not follow the protocol"),
    _json("1e400", body().replace(b"0.5", b"1e400", 1), "out of range"),
    _data("1e39 as FP32", "FP32", 1e39, "[1] does not fit FP32"),
    _data("300 as UINT8", "UINT8", 300, "300 at [1] does not fit UINT8"),
    _data("-1 as UINT64", "UINT64", -1, "-1 at [1] does not fit UINT64"),
    _data("2**64 as UINT64", "UINT64", 1 << 64, "does not fit UINT64"),
    _data("2**63 as INT64", "INT64", 1 << 63, "does not fit INT64"),
    _data("a fraction as INT32", "INT32", 1.5, "1.5 at [1] does not fit INT32"),
    _data("a bool as FP32", "FP32", True, "true at [1] does not fit FP32"),
    _data("a bool as INT64", "INT64", True, "true at [1] does not fit INT64"),
    _data("a text as FP32", "FP32", "1", '"1" at [1] does not fit FP32'),
    _data("a word as FP32", "FP32", "nan", '"nan" at [1] does not fit FP32'),
    _data("a word after a quote as FP32", "FP32", '"NaN', '"\\"NaN" at [1] does not fit FP32'),
    _data("a word after a quote in a list", "FP16", ['"Infinity'], "ragged"),
    _data("a word as a member's name", "FP64", {"NaN": 1}, '{"NaN":1} at [1] does not fit FP64'),
    _data("an object as FP32", "FP32", {"": 2}, '{"":2} at [1] does not fit FP32'),
    _data("null as INT32", "INT32", None, "null or NaN at [1] does not fit INT32"),
    _data("NaN as INT32", "INT32", float("nan"), "null or NaN at [1] does not fit INT32"),
    _data("Infinity as UINT8", "UINT8", float("inf"), "Infinity at [1] does not fit UINT8"),
    _data("65520 as FP16", "FP16", 65520, "65520 at [1] does not fit FP16, which takes numbers up to 65504"),
    _data("3.4e38 as BF16", "BF16", 3.4e38, "3.4e38 at [1] does not fit BF16, which takes numbers up to 3.38953e+38"),
    _json(
        "NaN as BYTES",
        body(tensor(datatype="BYTES", shape=[1], data=["@"])).replace(b'"@"', b"NaN"),
        "does not fit BYTES",
    ),
    _json("report_narrowed is a text", body(parameters={"report_narrowed": "yes"}), "report_narrowed"),
    _json("a number as BOOL", body(tensor(datatype="BOOL", shape=[1], data=[1])), "does not fit BOOL"),
    _json("a number as BYTES", body(tensor(datatype="BYTES", shape=[1], data=[1])), "does not fit BYTES"),
    _json("too many inputs", body(*[tensor(name=str(i)) for i in range(257)]), "max_tensors", 413),
    _json("too many outputs", body(outputs=[{"name": str(i)} for i in range(257)]), "max_tensors", 413),
    _json("input name too long", body(tensor(name="x" * 1025)), "max_name_length", 413),
    _json("id too long", body(id="x" * 1025), "max_name_length", 413),
    _json("negative priority", body(parameters={"priority": -1}), "priority"),
    _json("negative timeout", body(parameters={"timeout": -1}), "timeout"),
    _json("timeout is a text", body(parameters={"timeout": "1"}), "timeout"),
    _json("timings is a number", body(parameters={"timings": 1}), "timings"),
    _json("binary_data is a number", body(outputs=[{"name": "y", "parameters": {"binary_data": 1}}]), "binary_data"),
    _json("half a class", body(outputs=[{"name": "y", "parameters": {"classification": 0.5}}]), "classification"),
    _json("negative classes", body(outputs=[{"name": "y", "parameters": {"classification": -1}}]), "classification"),
    _json("a sequence's id is half a number", body(parameters={"sequence_id": 7.5}), "sequence_id"),
    _json("a sequence's id is true", body(parameters={"sequence_id": True}), "sequence_id"),
    _json("a sequence's id has 65 bits", body(parameters={"sequence_id": 1 << 64}), "64 bits"),
    _json("a sequence's id is long", body(parameters={"sequence_id": "x" * 129}), "129 characters"),
    _json("a sequence's start is a number", body(parameters={"sequence_id": 7, "sequence_start": 1}), "sequence_start"),
    _json("a reserved parameter", body(parameters={"triton_anything": 1}), "triton_ are reserved"),
    _json("shared memory", body(tensor(parameters={"shared_memory_region": "r"})), "shared memory is disabled", 501),
    _binary("both data and size", "both", data=ROW),
    _binary("truncated binary part", "bytes are left", raw=RAW[:-1]),
    _binary("left-over bytes", "left over", raw=RAW + b"\0"),
    _binary("size is not the shape's", "takes 64 bytes", raw=RAW[:-4], size=60),
    _binary("negative size", "whole number", size=-1),
    _binary("overflowing size", "bytes are left", size=1 << 63),
    _binary("size is a fraction", "whole number", size=64.0),
    _binary("size is a bool", "whole number", size=True),
    _binary("BOOL of 2", "0 or 1", raw=b"\2", size=1, datatype="BOOL", shape=[1]),
    _binary("BYTES past the part", "says 9 bytes", raw=b"\t\0\0\0ab", size=6, datatype="BYTES", shape=[1]),
    _binary("BYTES left over", "left over", raw=b"\1\0\0\0ab", size=6, datatype="BYTES", shape=[1]),
    _binary("BYTES too few", "at least", raw=b"\0\0\0\0", size=4, datatype="BYTES", shape=[2]),
    _length("negative header length", -1, "Inference-Header-Content-Length"),
    _length("header length over the body", 1 << 40, "Inference-Header-Content-Length"),
    _length("header length too short", 10, "not valid JSON"),
    _length("header length too long", len(good_binary()[0]), "not"),
]

NEEDS_MODEL: list[Bad] = [
    _json("no such input", body(tensor(name="z")), "z"),
    _json("no input at all", b'{"inputs":[]}', "x"),
    _json("an input too many", body(tensor(), tensor(name="z")), "z"),
    _json("wrong rank", body(tensor(shape=[16])), "x"),
    _json("wrong size", body(tensor(shape=[2, 8])), "x"),
    _json("wrong datatype", body(tensor(datatype="FP64")), "x"),
    _json("no such output", body(outputs=[{"name": "z"}]), "z"),
]
