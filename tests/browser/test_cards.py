"""What is done with one model from its card: trying it, turning its settings, being told of its errors."""

from __future__ import annotations

import json
import re
import threading

import numpy as np
import pytest
from playwright.sync_api import Locator, Request, WebSocketRoute, expect

from tests.browser.conftest import OpenPage
from tests.browser.jupyter import Jupyter
from tests.browser.panel import PANEL, Panel, call_wrongly, calling, open_panel
from tests.helpers.waiting import until
from workbench.api import Workbench
from workbench.client.user_agent import speak_as


@pytest.fixture
def plus(panel: Panel, lab: Jupyter, wb: Workbench) -> Panel:
    """The panel, with a model that adds 1."""
    wb.load("plus", lab.root / "plus-one.onnx")
    panel.expect_model("plus")
    return panel


def knob(form: Locator, name: str) -> Locator:
    return form.locator(f'[data-setting="{name}"]')


def setting(wb: Workbench, name: str) -> object:
    # It is Ready a moment before requests are routed to it.
    until(lambda: any(each.routed for each in wb.models()))
    return getattr(wb["plus"].status.config, name)


def test_random_rows_are_tried_and_what_comes_back_is_shown_with_where_its_time_went(plus: Panel) -> None:
    form = plus.part("plus", "Try it")
    form.get_by_label("Rows").fill("3")
    form.get_by_label("Seed").fill("7")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_have_text(re.compile("^Version 1 answered in "))
    rows = form.locator('[data-tensor="y"] tbody tr')
    expect(rows).to_have_count(3)
    first = rows.first.inner_text()
    expect(form).to_contain_text("It was run alone, in a batch of 3 rows")
    expect(form.locator('[data-stage="compute"]')).to_have_text(re.compile(r"\d.* (µs|ms)"))
    form.get_by_role("button", name="Send").click()
    form.get_by_text("What was sent").click()
    expect(form.locator('[data-tensor="x"] tbody tr')).to_have_count(3)
    assert rows.first.inner_text() == first  # the same seed
    form.get_by_role("button", name="Change it").click()
    typed = json.loads(form.get_by_label("Inputs as JSON").input_value())
    assert np.asarray(typed["x"]).shape == (3, 4)


def test_json_is_tried_and_what_is_wrong_with_it_is_said_there(plus: Panel) -> None:
    form = plus.part("plus", "Try it")
    form.get_by_label("JSON").check()
    box = form.get_by_label("Inputs as JSON")
    assert json.loads(box.input_value()) == {"x": [[0, 0, 0, 0]]}
    box.fill('{"x": [[1, 2, 3, 4]]}')
    box.press("Control+Enter")
    expect(form.locator('[data-tensor="y"] tbody td')).to_have_text(["2", "3", "4", "5"])
    box.fill('{"x": [[1, 2,')
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("alert")).to_contain_text("This is not JSON")
    expect(form.locator("[data-tensor]")).to_have_count(0)


def test_an_input_that_does_not_fit_is_refused_in_words(lab: Jupyter, wb: Workbench, open_page: OpenPage) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    panel = open_panel(open_page(forgive="status of 400"), lab)
    form = panel.part("plus", "Try it")
    form.get_by_label("JSON").check()
    form.get_by_label("Inputs as JSON").fill('{"x": [[1, 2]]}')
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("alert")).to_contain_text("x")
    form.get_by_role("button", name="Dismiss").click()
    expect(form.get_by_role("alert")).to_have_count(0)


def test_settings_are_applied_while_it_serves_and_set_back(plus: Panel, wb: Workbench) -> None:
    form = plus.part("plus", "Settings")
    apply = form.get_by_role("button", name="Apply")
    expect(knob(form, "max_batch_size")).to_have_value("64")
    expect(apply).to_be_disabled()
    knob(form, "max_batch_size").fill("8")
    knob(form, "max_queue_delay_s").fill("1.5")
    apply.click()
    expect(form.get_by_role("status")).to_contain_text("Applied while it served")
    assert (setting(wb, "max_batch_size"), setting(wb, "max_queue_delay_s")) == (8, 0.0015)
    form.get_by_role("button", name="Defaults").click()
    expect(knob(form, "max_batch_size")).to_have_value("64")
    apply.click()
    expect(form.get_by_role("status")).to_contain_text("Applied while it served")
    assert (setting(wb, "max_batch_size"), setting(wb, "max_queue_delay_s")) == (64, 0.0)


def test_a_setting_that_needs_a_reload_says_so_before_and_after(plus: Panel, wb: Workbench) -> None:
    form = plus.part("plus", "Settings")
    expect(form).to_contain_text("Batched: rows do not influence each other, proved by its graph; up to 64 rows a run")
    expect(knob(form, "batching").locator("option")).to_have_text(["auto", "proved", "always", "never"])
    knob(form, "batching").select_option("never")
    expect(form).to_contain_text("For this the model is loaded anew")
    form.get_by_role("button", name="Apply").click()
    expect(form.get_by_role("status")).to_contain_text("plus was loaded anew in")
    assert setting(wb, "batching") == "never"
    expect(form).to_contain_text("Unbatched: its settings say batching = never")


def test_a_setting_that_cannot_be_is_said_at_its_field(plus: Panel, wb: Workbench) -> None:
    form = plus.part("plus", "Settings")
    knob(form, "max_batch_size").fill("0")
    expect(form).to_contain_text("A whole number from 1 to 65536")
    expect(form.get_by_role("button", name="Apply")).to_be_disabled()
    form.get_by_role("button", name="Undo").click()
    expect(knob(form, "max_batch_size")).to_have_value("64")


def test_a_change_that_the_service_refuses_says_why_and_what_was_typed_stays(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    panel = open_panel(open_page(forgive="status of [45]0"), lab)
    form = panel.part("plus", "Settings")
    knob(form, "device").fill("cuda:99")
    form.get_by_role("button", name="Apply").click()
    expect(form.get_by_role("alert")).to_contain_text("cuda:99")
    expect(knob(form, "device")).to_have_value("cuda:99")
    assert setting(wb, "device") == "auto"


def test_what_another_changes_shows_in_the_form(plus: Panel, wb: Workbench) -> None:
    form = plus.part("plus", "Settings")
    knob(form, "instances").fill("2")  # typed, not applied
    wb["plus"].set(max_batch_size=16)
    expect(knob(form, "max_batch_size")).to_have_value("16")
    expect(knob(form, "instances")).to_have_value("2")


def test_the_last_error_of_a_model_is_told_on_its_card(plus: Panel, lab: Jupyter) -> None:
    expect(plus.figure("plus", "errors")).to_have_text("0 %")
    call_wrongly(lab, "plus")
    expect(plus.figure("plus", "last_error")).to_contain_text("got [1,2]")


def test_a_load_in_place_of_what_a_notebook_loaded_asks_first(panel: Panel, lab: Jupyter) -> None:
    speak_as("kernel of other.ipynb")
    try:
        with lab.served() as theirs:
            theirs.load("plus", lab.root / "plus-one.onnx")
    finally:
        speak_as("")
    loaded_by = panel.card("plus").locator('[data-part="loaded-by"]')
    expect(loaded_by).to_contain_text("Loaded by other.ipynb, ")
    dialog = panel.page.get_by_role("dialog")
    panel.load("plus two.onnx", "plus")
    expect(dialog).to_contain_text("Version 1 of plus was loaded by other.ipynb")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    expect(panel.card("plus").locator(".iw-ModelLine .iw-Card-version")).to_have_text("v1")
    panel.button("Load").click()
    dialog.get_by_role("button", name="Replace").click()
    expect(panel.card("plus").locator(".iw-ModelLine .iw-Card-version")).to_have_text("v2")
    expect(loaded_by).to_contain_text("Loaded by the panel, ")


def test_options_go_with_a_load(panel: Panel, wb: Workbench) -> None:
    panel.button("Options").click()
    knob(panel.root.get_by_role("form", name="Load a model"), "max_batch_size").fill("5")
    panel.load("plus-one.onnx", "plus")
    panel.expect_model("plus")
    assert setting(wb, "max_batch_size") == 5


def test_what_is_unfolded_is_so_after_a_reload_of_the_page(plus: Panel) -> None:
    page = plus.page

    def keeps(asked: Request) -> bool:
        kept = asked.post_data or ""
        return asked.method == "PUT" and '"service":false' in kept and '"settings:plus":true' in kept

    with page.expect_request_finished(keeps):
        plus.part("plus", "Settings")
        plus.button("Service").click()
        expect(plus.state).to_be_hidden()
    page.reload()
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    expect(plus.root).to_be_visible()  # where it was left open
    expect(knob(plus.card("plus"), "max_batch_size")).to_be_visible()
    expect(plus.state).to_be_hidden()


def test_a_model_is_tried_from_the_palette(plus: Panel) -> None:
    page = plus.page
    page.locator(f'li[data-id="{PANEL}"]').click()
    expect(plus.root).to_be_hidden()
    # By the menu: JupyterLab binds its keys some time after it shows the page, and says nothing of it.
    page.locator(".lm-MenuBar-item").filter(has_text="View").click()
    page.locator('.lm-Menu-item[data-command="apputils:activate-command-palette"]').click()
    page.locator(".lm-CommandPalette input").last.fill("try a model")
    page.locator(".lm-CommandPalette-item").filter(has_text="Try a Model").click()
    page.get_by_role("dialog").get_by_role("button", name="Try").click()
    expect(plus.card("plus").get_by_role("button", name="Send")).to_be_visible()


def test_figures_that_do_not_come_are_missed_and_welcome_when_they_do(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    page = open_page()
    slow = threading.Event()

    def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(
            lambda frame: None if slow.is_set() and '"figures"' in str(frame)[:20] else socket.send(frame)
        )

    page.route_web_socket(re.compile("infer-workbench/stream"), between)
    panel = open_panel(page, lab)
    late = panel.root.get_by_text("No new figures for some seconds")
    with calling(wb, "plus"):
        expect(panel.figure("plus", "requests_per_s")).to_have_text(re.compile("[1-9]"))
        expect(late).to_be_hidden()
        slow.set()
        expect(late).to_be_visible()
        panel.expect_state("Ready")
        slow.clear()
        expect(late).to_be_hidden()


def test_each_gpu_of_the_machine_has_bars_of_its_use_and_its_memory(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    page = open_page()
    known = {"utilization": 0.25, "memory_bytes": 24e9, "memory_used_bytes": 6e9, "power_w": 70}
    silent = {"utilization": None, "memory_bytes": 8e9, "memory_used_bytes": None, "power_w": None}
    gpus = [{"uuid": "a", "name": "NVIDIA L4", **known}, {"uuid": "b", "name": "Other", **silent}]

    def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def hear(frame: str | bytes) -> None:
            said = json.loads(frame)
            if said["type"] == "figures":
                said["machine"] = {"cpu": 0.5, "memory_bytes": 16e9, "memory_used_bytes": 4e9, "gpus": gpus}
            socket.send(json.dumps(said))

        server.on_message(hear)

    page.route_web_socket(re.compile("infer-workbench/stream"), between)
    panel = open_panel(page, lab)
    assert panel.meter("NVIDIA L4") == ("25", "25 %")
    assert panel.meter("GPU memory") == ("25", "6 GB of 24 GB")
    expect(panel.service.get_by_text("Other")).to_be_visible()
    expect(panel.service.get_by_role("meter", name="Other")).to_be_hidden()  # the driver does not say
    assert panel.meter("Memory")[0] == "25"
    assert panel.meter("Processor")[0] == "50"


def test_the_log_follows_in_the_panel(plus: Panel, wb: Workbench, lab: Jupyter) -> None:
    plus.service.get_by_role("button", name="Log", exact=True).click()
    log = plus.root.get_by_role("log")
    expect(log).to_contain_text("model plus version 1 is Ready")
    wb.load("late-comer", lab.root / "plus-one.onnx")
    expect(log).to_contain_text("late-comer")


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.long)], ids=["light", "dark"])
def test_nobody_is_kept_out_of_any_state_of_the_panel(
    lab: Jupyter, wb: Workbench, open_page: OpenPage, dark: bool
) -> None:
    panel = open_panel(open_page(dark=dark, forgive="status of 40[04]"), lab)
    assert panel.page.locator(f'body[data-jp-theme-light="{str(not dark).lower()}"]').count() == 1
    panel.expect_state("Ready")
    expect(panel.root.get_by_text("No model is served yet")).to_be_visible()
    assert panel.barriers() == []  # nothing served

    panel.load("broken.onnx", "mine")
    expect(panel.root.get_by_role("alert").first).to_be_visible()
    panel.button("Options").click()
    panel.root.get_by_label("Largest batch").fill("0")
    assert panel.barriers() == []  # refused, and a setting that cannot be
    panel.root.get_by_label("Largest batch").fill("8")
    panel.button("Options").click()
    panel.root.get_by_role("alert").get_by_role("button", name="Dismiss").click()

    wb.load("plus", lab.root / "plus-one.onnx")
    panel.expect_model("plus")
    panel.service.get_by_role("button", name="Log", exact=True).click()
    tried = panel.part("plus", "Try it")
    tried.get_by_role("button", name="Send").click()
    expect(tried.locator('[data-tensor="y"]')).to_be_visible()
    tried.get_by_text("What was sent").click()
    knob(panel.part("plus", "Settings"), "max_batch_size").fill("0")
    assert panel.barriers() == []  # all that there is, unfolded

    lab.infer("stop")
    panel.expect_state("Stopped")
    assert panel.barriers() == []  # away
