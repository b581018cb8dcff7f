"""What the protocols say, as data: `cases.json`, read and checked here.

A feature has cases. A case is an inference, run `over` json, binary, grpc and process unless it says otherwise; or a
call of a route (`http`) or of a method (`rpc`). `expect` says what comes of it everywhere, `but` what comes of it over
one of them.
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
"""Codes by which a case says that something is not served, where it says `absent`."""


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
    """What in the specifications makes this case worth having."""

    def expected(self, transport: str) -> dict[str, Any]:
        return self.but.get(transport, self.expect)

    def absent(self, transport: str) -> bool:
        """True where the case says that this is not served."""
        return bool(self.expected(transport).get("absent", False))


def cases() -> list[Case]:
    found = []
    for feature in json.loads(FILE.read_text(encoding="utf-8")):
        for case in feature["cases"]:
            over = ("http",) if "http" in case else ("rpc",) if "rpc" in case else INFERENCE
            given = {**case, "over": tuple(case.get("over", over)), "feature": feature["feature"]}
            found.append(Case(**given))
    return found
