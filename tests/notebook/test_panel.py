"""`wb.panel()` without a browser: its widgets are set and pressed as a page would."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models import add_constant, save
from workbench.api import Workbench, connect
from workbench.client.shared_service import SharedService
from workbench.notebook.action_button import ActionButton
from workbench.notebook.live import _Shown
from workbench.notebook.panel import ControlPanel, _name_of

SOON_S = 60.0


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


@pytest.fixture
def shared(workplace: SharedService) -> Iterator[Workbench]:
    with connect() as wb:
        yield wb


@pytest.fixture
def panel(shared: Workbench) -> Iterator[ControlPanel]:
    panel = shared.panel()
    yield panel
    panel.close()


def press(act: ActionButton) -> str:
    """What a press of the button came to."""
    doing = act.begin()
    assert doing is not None
    doing.join(SOON_S)
    assert not doing.is_alive()
    return str(act.said.value)


def until(panel: ControlPanel, fits: Any) -> None:
    """Wait for the service to tell."""
    changed: queue.Queue[None] = queue.Queue()
    end = panel._feed.listen(lambda: changed.put(None))
    while not fits():
        changed.get(timeout=SOON_S)
    end()


def loaded(panel: ControlPanel, tmp_path: Path) -> None:
    save(add_constant(1.0), tmp_path / "plus one.onnx")
    panel._load.path.value = str(tmp_path / "plus one.onnx")
    assert "plus-one version 1" in press(panel._load.act)
    until(panel, lambda: panel._chosen.value == "plus-one")
    until(panel, lambda: panel._try.act.enabled)


def test_a_model_is_loaded_tried_set_and_unloaded(panel: ControlPanel, tmp_path: Path, shared: Workbench) -> None:
    loaded(panel, tmp_path)
    assert panel.plot.model == "plus-one"
    assert "Ready" in panel._standing.value

    panel._try.rows.value = 3
    answer = press(panel._try.act)
    assert "FP32 [3, 4]" in answer
    assert "3 rows of 1 request in its batch" in answer
    panel._try.kind.value = "typed"
    panel._try.inputs.value = json.dumps([[1, 2, 3, 4]])
    assert "[[2.0, 3.0, 4.0, 5.0]]" in press(panel._try.act)

    panel._settings.knobs.fields["max_batch_size"].value = "8"
    panel._settings.knobs.fields["max_queue_delay_s"].value = "2"
    assert "max_batch_size, max_queue_delay_s" in press(panel._settings.act)
    config = shared["plus-one"].status.config
    assert (config.max_batch_size, config.max_queue_delay_s) == (8, 0.002)
    until(panel, lambda: panel._settings._config["max_batch_size"] == 8)
    assert press(panel._settings.act) == "No setting differs."

    assert press(panel._unload) == "plus-one is unloaded."
    until(panel, lambda: not panel._names())
    assert panel._unload.button.disabled
    assert panel._try.act.button.disabled


def test_from_eight_models_on_the_list_is_filtered(panel: ControlPanel, tmp_path: Path, shared: Workbench) -> None:
    save(add_constant(1.0), tmp_path / "m.onnx")
    assert panel._filter.layout.display == "none"
    for number in range(8):
        shared.load(f"m{number}", tmp_path / "m.onnx")
    until(panel, lambda: len(panel._chosen.options) == 8)
    assert panel._filter.layout.display == ""
    assert [label for label, _ in panel._chosen.options] == [f"● m{number}" for number in range(8)]
    changed: queue.Queue[object] = queue.Queue()
    panel._chosen.observe(changed.put, "value")
    panel._filter.value = "m5"
    while panel._chosen.value != "m5":
        changed.get(timeout=SOON_S)
    assert [name for _, name in panel._chosen.options] == ["m5"]
    for number in range(8):
        shared.unload(f"m{number}")
    until(panel, lambda: not panel._names())


def test_its_plot_may_be_shown_in_another_cell_too(panel: ControlPanel, tmp_path: Path) -> None:
    drawn: list[str] = []

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            drawn.append(bundle["text/plain"])

    panel.plot._shown = [_Shown(Handle(), "another")]  # type: ignore[arg-type]
    loaded(panel, tmp_path)
    assert "plus-one" in drawn[-1]
    panel.plot._shown = []


def test_options_go_with_a_load(panel: ControlPanel, tmp_path: Path, shared: Workbench) -> None:
    panel._load.options.fields["max_batch_size"].value = "16"
    panel._load.options.fields["device"].value = "cpu"
    panel._load.name.value = "mine"
    save(add_constant(1.0), tmp_path / "model.onnx")
    panel._load.path.value = str(tmp_path)
    assert "mine version 1" in press(panel._load.act)
    assert shared["mine"].status.config.max_batch_size == 16


def test_what_goes_wrong_stands_beside_the_button(panel: ControlPanel, tmp_path: Path) -> None:
    assert "enter the path of an .onnx file" in press(panel._load.act)
    panel._load.path.value = "nothing <here>.onnx"
    said = press(panel._load.act)
    assert "there is no file or folder" in said
    assert "<here>" not in said
    assert "role='alert'" in said
    panel._load.options.fields["instances"].value = "many"
    assert "Instances must be a whole number" in press(panel._load.act)
    panel._load.options.fields["instances"].value = ""
    loaded(panel, tmp_path)
    panel._try.kind.value = "typed"
    panel._try.inputs.value = '{"x": [1,'
    assert "not JSON, line 1" in press(panel._try.act)
    panel._try.inputs.value = '{"z": [[1]]}'
    assert "role='alert'" in press(panel._try.act)
    panel._settings.knobs.fields["device"].value = "abacus"
    assert "role='alert'" in press(panel._settings.act)


def test_the_service_is_stopped_and_started_from_it(panel: ControlPanel) -> None:
    assert "Ready" in panel._service._state.value
    assert press(panel._service._stop) == ""
    until(panel, lambda: "Stopped" in panel._service._state.value)
    assert panel._service._stop.button.disabled
    assert press(panel._service._start) == ""
    until(panel, lambda: "Ready" in panel._service._state.value)


def test_a_service_by_its_url_is_neither_started_nor_stopped_here(wb: Workbench) -> None:
    panel = wb.panel()
    assert len(panel._service.box.children) == 1
    assert len(panel._service.box.children[0].children) == 1
    panel.close()


def test_closing_it_ends_what_it_began(shared: Workbench) -> None:
    panel = shared.panel()
    plot = panel.plot
    panel.close()
    panel.close()
    assert plot.closed
    assert repr(panel) == "<ControlPanel, closed>"
    assert not shared.feed._relay.listeners


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models/digits.onnx", "digits"),
        ("/data/digits/model.onnx", "digits"),
        ("my model (1).onnx", "my-model--1"),
        ("~/x/", "x"),
        ("/", "model"),
    ],
)
def test_a_model_is_called_as_its_file(path: str, name: str) -> None:
    assert _name_of(path) == name
