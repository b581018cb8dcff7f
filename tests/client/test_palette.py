"""One vocabulary and one palette, in Python and in the panel, for every kind of colour vision and on both themes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import workbench
from workbench.client.palette import DARK, EITHER, INKS, LIGHT, STAGES, WORDS, colour
from workbench.client.slow_requests import COLOURS
from workbench.core.tensor import Array
from workbench.live.tick import LIVE_STAGES
from workbench.loadtest.analysis.latency_breakdown import BREAKDOWN
from workbench.telemetry.request_record import Stage

ROOT = Path(workbench.__file__).parents[1]
PANEL = ROOT / "labextension"

TONES: Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    "light": (LIGHT, ("#ffffff", "#f5f5f5")),
    "dark": (DARK, ("#111111", "#1e1e1e", "#212121")),
    "either": (EITHER, ("#ffffff", "#111111", "#1e1e1e")),
}
"""Tone -> its hues, and the grounds of JupyterLab and VS Code that they are drawn on."""

EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
}
"""What each sees of linear light: Machado, Oliveira and Fernandes 2009, complete loss."""

_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.793617785, -0.0040720468],
        [1.9779984951, -2.428592205, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.808675766],
    ]
)


def light(hexed: str) -> Array:
    """Linear red, green and blue."""
    values = np.array([int(hexed[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2."""
    dark, bright = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ light(each)) for each in (one, other))
    return (bright + 0.05) / (dark + 0.05)


def distance(one: str, other: str, eye: str) -> float:
    """How far apart two colours look, in OKLab."""
    first, second = (_OKLAB @ np.cbrt(_CONES @ np.clip(EYES[eye] @ light(each), 0, 1)) for each in (one, other))
    return float(np.linalg.norm(first - second))


def written(text: str, name: str) -> dict[str, str]:
    """The entries of a constant of palette.ts."""
    found = re.search(rf"const {name}[^=]*= \{{(.*?)\}}", text, re.S)
    assert found, name
    return dict(re.findall(r"(\w+): '([^']+)'", found[1]))


def test_python_and_the_panel_have_one_palette_and_one_order_of_stages() -> None:
    text = (PANEL / "src/plots/palette.ts").read_text()
    assert written(text, "LIGHT") == dict(LIGHT)
    assert written(text, "DARK") == dict(DARK)
    assert written(text, "INKS") == dict(INKS)
    way = re.search(r"const WAY = \[(.*?)\]", text, re.S)
    assert way and tuple(re.findall(r"'(\w+)'", way[1])) == STAGES
    live = re.search(r"const STAGES = \[(.*?)\]", (PANEL / "src/service/wire.ts").read_text(), re.S)
    assert live and tuple(re.findall(r"'(\w+)'", live[1])) == LIVE_STAGES


def test_the_panel_s_style_has_the_same_colours() -> None:
    style = (PANEL / "style/parts.css").read_text()
    bright, dark = (dict(re.findall(r"--iw-(\w+): (#\w+);", part)) for part in style.split("}")[:2])
    assert bright == {stage: LIGHT[INKS[stage]] for stage in bright}
    assert dark == {stage: DARK[INKS[stage]] for stage in dark}
    assert set(bright) == set(dark) == {"queue", "batch", "compute", "split"}


def test_stages_have_the_names_of_the_metrics_everywhere() -> None:
    assert list(STAGES) == [stage.name.lower() for stage in Stage]
    assert {stage: colour(stage) for stage in STAGES} == dict(COLOURS)
    assert [stage for stage in BREAKDOWN if stage in STAGES] == list(STAGES)
    assert all(BREAKDOWN[stage] == colour(stage) for stage in STAGES)
    row = "| `{}` |"
    assert all(row.format(stage) in (ROOT / "docs/metrics.md").read_text() for stage in STAGES)


def test_no_other_file_of_what_is_drawn_names_a_colour_of_its_own() -> None:
    drawing = ["client", "loadtest", "notebook"]
    files = [each for folder in drawing for each in (ROOT / "workbench" / folder).rglob("*.py")]
    own = {each.name: re.findall(r"[\"'](#[0-9a-f]{6})[\"']", each.read_text()) for each in files}
    assert {name for name, found in own.items() if found} == {"palette.py"}


def test_words_and_axes_can_be_read_in_both_themes() -> None:
    """4.5 is WCAG AA of text; no grey has it on white and on black, and this one misses it on black by a little."""
    assert contrast(WORDS, "#ffffff") >= 4.5
    assert contrast(WORDS, "#111111") >= 4.1


@pytest.mark.parametrize("tone", TONES)
def test_every_hue_stands_out_from_the_page(tone: str) -> None:
    hues, grounds = TONES[tone]
    assert set(hues) == set(LIGHT)
    for (hue, each), ground in itertools.product(hues.items(), grounds):
        assert contrast(each, ground) >= 3, f"{hue} on {ground}: WCAG AA of graphics"


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("tone", TONES)
def test_what_stands_side_by_side_is_told_apart(tone: str, eye: str) -> None:
    hues, _ = TONES[tone]
    way = ["unsent", "network", *STAGES]
    for one, other in itertools.pairwise(way):
        assert distance(hues[INKS[one]], hues[INKS[other]], eye) > 0.08, f"{one} and {other}"
    for one, other in itertools.combinations(STAGES, 2):
        assert distance(hues[INKS[one]], hues[INKS[other]], eye) > 0.05, f"{one} and {other}"
    for inks in (("p50", "p95", "p99"), ("throughput", "errors", "due"), ("p50", "p99", "max")):
        for one, other in itertools.combinations(inks, 2):
            assert distance(hues[INKS[one]], hues[INKS[other]], eye) > 0.08, f"{one} and {other}"
