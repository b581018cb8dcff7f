"""Writes metric families as Prometheus text, version 0.0.4, which every scraper reads.

The text format has no native histograms; `prometheus_protobuf` has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from workbench.telemetry.families import Distribution, Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def write(families: Iterable[Family]) -> bytes:
    return "".join(line for family in families for line in _lines(family)).encode()


def _lines(family: Family) -> Iterator[str]:
    name = family.name
    yield f"# HELP {name} {family.help.translate(_HELP_ESCAPES)}\n# TYPE {name} {family.kind}\n"
    for values, value in family.samples:
        pairs = [f'{label}="{text.translate(_ESCAPES)}"' for label, text in zip(family.labels, values, strict=True)]
        if isinstance(value, Distribution):
            yield from _distribution(name, pairs, value)
        else:
            yield f"{name}{_labelled(pairs)} {_number(value)}\n"


def _distribution(name: str, pairs: list[str], value: Distribution) -> Iterator[str]:
    begin = f"{name}_bucket{{{''.join(f'{pair},' for pair in pairs)}le="
    for bound, count in value.buckets:
        yield f'{begin}"{bound:g}"}} {count}\n' if bound < 1e5 else f'{begin}"{bound:.0f}"}} {count}\n'
    labels = _labelled(pairs)
    yield f'{begin}"+Inf"}} {value.count}\n'
    yield f"{name}_sum{labels} {_number(value.total)}\n{name}_count{labels} {value.count}\n"


def _labelled(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return repr(value) if math.isfinite(value) else {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
