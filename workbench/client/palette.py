"""The stages of a request, and the colour of each thing that is drawn: in SVG, Plotly and HTML, as in the panel.

labextension/src/plots/palette.ts says the same for the panel and the live plots; tests/client/test_palette.py holds the
two together, and computes contrasts and how colour-blind readers see the hues.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STAGES: Final = ("receive", "decode", "queue", "batch", "compute", "split", "encode", "send")
"""A request's way through the service, as docs/metrics.md has it. Only `receive` lies before its duration begins."""

LIGHT: Final[Mapping[str, str]] = {
    "blue": "#0163b3",
    "sky": "#3495d0",
    "green": "#0d794d",
    "orange": "#bd8200",
    "red": "#b64800",
    "purple": "#702868",
    "grey": "#7d7d7d",
    "brown": "#382000",
    "olive": "#505800",
    "violet": "#8820e8",
}
"""Hue -> its tone on a light page."""

DARK: Final[Mapping[str, str]] = {
    "blue": "#2c96fb",
    "sky": "#8fd0ff",
    "green": "#55d99e",
    "orange": "#f0b23e",
    "red": "#f86a3f",
    "purple": "#d05890",
    "grey": "#a8a8a8",
    "brown": "#b06860",
    "olive": "#d8f090",
    "violet": "#9070c8",
}
"""Hue -> its tone on a dark page."""

EITHER: Final[Mapping[str, str]] = {
    "blue": "#487098",
    "sky": "#3098f0",
    "green": "#28a870",
    "orange": "#c88000",
    "red": "#c83020",
    "purple": "#b848b0",
    "grey": "#888890",
    "brown": "#886050",
    "olive": "#687000",
    "violet": "#a828f0",
}
"""Hue -> its tone where the page's theme is not known: what a cell shows is kept, and opened in either."""

WORDS: Final = "#767676"
"""Words and axes of what a cell keeps: as far from white as from JupyterLab's black."""

INKS: Final[Mapping[str, str]] = {
    "throughput": "blue",
    "due": "grey",
    "p50": "blue",
    "p90": "sky",
    "p95": "orange",
    "p99": "red",
    "max": "grey",
    "queued": "purple",
    "errors": "red",
    "receive": "grey",
    "decode": "brown",
    "queue": "orange",
    "batch": "sky",
    "compute": "blue",
    "split": "green",
    "encode": "purple",
    "send": "olive",
    "other": "grey",
    "unsent": "red",
    "network": "violet",
    "idle": "sky",
    "full": "green",
    "delay": "orange",
    "shape": "purple",
    "alone": "grey",
    "drain": "red",
}
"""Thing -> its hue, in all pictures."""


def colour(ink: str) -> str:
    """The colour of a thing, on a page of either theme; grey for one that is not known."""
    return EITHER[INKS.get(ink, "grey")]
