"""Writes the table in docs/protocol.md from the conformance cases: `python -m tests.conformance.table`."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.cases import Case, cases

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN, END = "<!-- made from tests/conformance/cases.json -->\n", "<!-- until here -->\n"
_COLUMNS = {"HTTP": ("json", "binary", "http"), "gRPC": ("grpc", "rpc"), "in process": ("process",)}


def table() -> str:
    features: dict[str, list[Case]] = {}
    for case in cases():
        features.setdefault(case.feature, []).append(case)
    lines = [f"| feature | {' | '.join(_COLUMNS)} | cases | notes |", "|---|---|---|---|---|---|"]
    for feature, found in features.items():
        cells = [_state(found, transports) for transports in _COLUMNS.values()]
        warts = " ".join(dict.fromkeys(case.wart for case in found if case.wart))
        lines.append(f"| {feature} | {' | '.join(cells)} | {len(found)} | {warts} |")
    return "\n".join(lines) + "\n"


def _state(found: list[Case], transports: tuple[str, ...]) -> str:
    absent = [case.absent(each) for case in found for each in case.over if each in transports]
    if not absent:
        return ""
    return "no" if all(absent) else "partly" if any(absent) else "yes"


def written(page: str) -> str:
    """Returns `page` with its table replaced by the current one."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
