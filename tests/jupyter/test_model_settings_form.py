"""The panel's form of settings says the same as the settings themselves."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import workbench
from workbench.config import LIVE_SETTINGS, ModelConfig, settings_of
from workbench.config.settings_schema import Choices, Range

FORM = Path(workbench.__file__).parents[1] / "labextension" / "src" / "forms" / "modelSettingsForm.ts"

_ROW = re.compile(r"\{ name: '(\w+)',.* default: (\[\]|'[\w:]+'|[\d.]+), live: (true|false)")


def test_the_panel_knows_every_setting_of_a_model_its_default_and_whether_it_is_live() -> None:
    rows = _ROW.findall(FORM.read_text(encoding="utf-8"))
    panel = {name: (json.loads(default.replace("'", '"')), live == "true") for name, default, live in rows}
    config = ModelConfig()
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    assert panel == {
        name: (list(value) if isinstance(value, tuple) else value, name in LIVE_SETTINGS)
        for name, value in values.items()
    }


def test_the_panel_has_the_settings_own_ranges_and_choices() -> None:
    lines = re.findall(r"\{ name: '(\w+)', kind: '(\w+)',(.*)\}", FORM.read_text(encoding="utf-8"))
    assert [name for name, _, _ in lines if name not in settings_of(ModelConfig)] == []
    for name, kind, rest in lines:
        allowed = settings_of(ModelConfig)[name].allowed
        bounds = re.search(r"range: \[([\d.]+), ([\d.]+)\]", rest)
        words = re.search(r"choices: \[(.*?)\]", rest)
        if kind == "sizes":
            assert bounds is None
        elif isinstance(allowed, Range):
            assert bounds and (float(bounds[1]), float(bounds[2])) == (allowed.low, allowed.high), name
        elif isinstance(allowed, Choices):
            assert words and tuple(re.findall(r"'(\w+)'", words[1])) == allowed.words, name
        else:
            assert kind in ("device", "memory", "versions")
