"""docs/jupyter.md says what is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import yaml

import workbench
from tests.live.ticks import FakeService, ticks
from workbench.jupyter.events import SCHEMAS
from workbench.jupyter.extension import InferWorkbench
from workbench.jupyter.routes import routes
from workbench.jupyter.version_routes import version_routes
from workbench.live.relay import PageMessage, Subscription, _Pause, _Resume, _Subscribe, figures
from workbench.live.ring import COLUMNS, DETAIL, MEANS
from workbench.live.tick import ModelFigures, detail
from workbench.live.view import ServiceView

TEXT = (Path(workbench.__file__).parents[1] / "docs" / "jupyter.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, str]:
    """First column -> the row, of the first table after some words."""
    table = re.search(r"^\|.*?\n\n", TEXT[TEXT.index(heading) :], re.MULTILINE | re.DOTALL)
    assert table is not None
    lines = table[0].strip().splitlines()[2:]
    return {line.split(" | ")[0].strip("| "): line for line in lines}


def names(heading: str) -> set[str]:
    """What is in backquotes in the first column."""
    return {name for cell in rows(heading) for name in re.findall(r"`(\w+)`", cell)}


def test_every_setting_is_documented_with_its_default() -> None:
    documented = rows("## Settings")
    traits = InferWorkbench.class_own_traits(config=True)
    assert set(documented) == {f"`InferWorkbench.{name}`" for name in traits}
    for name, trait in traits.items():
        assert (f"`{trait.default_value}`" if trait.default_value != "" else "| empty |") in documented[
            f"`InferWorkbench.{name}`"
        ]


def test_every_route_is_documented() -> None:
    documented = {
        re.sub("RUN|OTHER|SHARE|VERSION|FIRST|SECOND", "NAME", cell.strip("`").partition("?")[0])
        for cell in rows("## Routes")
    }
    found = set()
    for pattern, handler in (*routes(), *version_routes()):
        path = pattern.removeprefix("infer-workbench/").replace("([^/]+)", "NAME")
        found |= {f"{method.upper()} {path}" for method in ("get", "post", "delete") if method in vars(handler)}
    assert documented == found


def test_every_message_is_documented() -> None:
    assert names("From the server:") == {kind.value for kind in PageMessage}
    assert names("To the server:") == {kind.__struct_config__.tag for kind in (_Subscribe, _Pause, _Resume)}
    for field in _Subscribe.__struct_fields__:
        assert f"`{field}`" in rows("To the server:")["`subscribe`"]


def test_every_field_of_the_service_and_of_the_figures_is_documented() -> None:
    assert names("Its `version` is that of the server extension") == {
        field.name for field in dataclasses.fields(ServiceView)
    }
    (tick,) = ticks(FakeService(), 1, 0.001)
    sent = figures(tick, Subscription(detail=frozenset({"digits"})))
    assert names("`figures` has") == set(sent)
    described = rows("`figures` has")
    for field in dataclasses.fields(ModelFigures):
        assert f"`{field.name}`" in described["`models`"]
    for name in detail(tick.entries["digits"]):
        assert f'"{name}"' in described["`detail`"]
    for column in (*COLUMNS, *DETAIL, *MEANS, "batches"):
        assert f"`{column}`" in TEXT[TEXT.index("The columns of `history`") :]


def test_every_event_is_documented() -> None:
    for schema, path in SCHEMAS.items():
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert described["$id"] == schema
        table = TEXT[TEXT.index("## Events") :]
        assert f"| `{schema}` |" in table
        for event in described["properties"]["event"]["enum"]:
            assert f"| `{event}` |" in table
        for field in described["properties"].keys() - {"event"}:
            assert f"`{field}`" in table
