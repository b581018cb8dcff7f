"""Reads and checks the conformance cases in `cases.json`, which state what the protocols require.

A feature has cases. A case is an inference, a call of an HTTP route (`http`), or a call of a gRPC method (`rpc`). An
inference runs over json, binary, grpc and process unless `over` says otherwise. `expect` is the result on every
transport; `but` replaces it for single transports.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("cases.json")
INFERENCE = ("json", "binary", "grpc", "process")
TRANSPORTS = (*INFERENCE, "http", "rpc")
NOT_SERVED = frozenset({"unsupported", "not_found", "method_not_allowed"})
"""Error codes that a case with `absent` may expect: each means that the feature is not supported."""


@dataclass(frozen=True)
class Case:
    feature: str
    name: str
    expect: dict[str, Any]
    over: tuple[str, ...]
    model: str = ""
    version: str | None = None
    request: dict[str, Any] = field(default_factory=dict)
    http: dict[str, Any] = field(default_factory=dict)
    """`method`, `path`; `headers`, and a `body` of JSON or, as hex, `raw`."""
    rpc: dict[str, Any] = field(default_factory=dict)
    """`method`, and the `request` as protobuf's JSON."""
    but: dict[str, dict[str, Any]] = field(default_factory=dict)
    wart: str = ""
    """A difference or trap in the specifications, in full sentences; it becomes a note in docs/protocol.md."""

    def expected(self, transport: str) -> dict[str, Any]:
        return self.but.get(transport, self.expect)

    def absent(self, transport: str) -> bool:
        """True if the case says that `transport` does not support the feature."""
        return bool(self.expected(transport).get("absent", False))


def cases() -> list[Case]:
    found = []
    for feature in json.loads(FILE.read_text(encoding="utf-8")):
        for case in feature["cases"]:
            over = ("http",) if "http" in case else ("rpc",) if "rpc" in case else INFERENCE
            given = {**case, "over": tuple(case.get("over", over)), "feature": feature["feature"]}
            found.append(Case(**given))
    return found
