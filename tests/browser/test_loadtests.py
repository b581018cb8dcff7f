"""Load tests from the panel: begun, watched, stopped, read, compared."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.jupyter import Jupyter
from tests.browser.panel import Panel, open_panel
from workbench.api import Workbench
from workbench.loadtest.patterns import PATTERNS


def section(panel: Panel) -> Locator:
    return panel.root.get_by_role("region", name="Load tests", exact=True)


def begin(tests: Locator, **typed: str) -> None:
    form = tests.get_by_role("form", name="Begin a load test")
    for label, text in typed.items():
        form.get_by_label(label.replace("_", " "), exact=True).fill(text)
    form.get_by_role("button", name="Start the test").click()


def test_a_load_test_is_begun_watched_read_and_another_one_stopped(panel: Panel, lab: Jupyter) -> None:
    panel.load("plus-one.onnx")
    panel.expect_model("plus-one")
    tests = section(panel)
    tests.scroll_into_view_if_needed()
    begin(tests, Requests_per_second="20", Duration="2s")

    running = tests.get_by_role("group", name=re.compile("Load test plus-one-.*, under way"))
    run = running.get_attribute("data-run") or ""
    expect(running).to_contain_text("20 requests/s for 2 s")
    expect(running.locator('[data-figure="p99"]')).to_contain_text(re.compile(r"\d (ms|µs)"))
    expect(running).to_have_count(0)

    entry = tests.get_by_role("listitem", name=run, exact=True)
    expect(entry).to_contain_text(re.compile(r"20/s · p50\s[\d.,]+\s(ms|µs) · p99"))
    expect(entry.get_by_text(re.compile("plus-one takes|The load generator was the limit")).first).to_be_visible()
    assert panel.barriers() == []
    entry.get_by_role("button", name=f"Open report of {run}").click()
    tab = panel.page.get_by_role("tab", name=f"Load test {run}")
    expect(tab).to_be_visible()
    report = panel.page.frame_locator(f'iframe[title="Report of the load test {run}"]')
    expect(report.get_by_text("Latency by percentile").first).to_be_visible()

    begin(tests, Duration="60s")
    expect(running).to_contain_text("20 requests/s for 60 s")
    expect(tests.get_by_role("button", name="Start the test")).to_be_disabled()
    second = running.get_attribute("data-run") or ""
    expect(running).to_contain_text("Running")
    assert panel.barriers() == []
    running.get_by_role("button", name=f"Stop the load test {second}").click()
    expect(running).to_have_count(0)
    stopped = tests.get_by_role("listitem", name=second, exact=True)
    expect(stopped).to_contain_text("cut short")

    stopped.get_by_label("Compare with").select_option(run)
    expect(stopped.get_by_text(f"{second} against {run}: ")).to_be_visible()
    assert [each["run"] for each in lab.api("bench")["runs"]][:2] == [second, run]


@pytest.mark.long
def test_a_sweep_tries_settings_one_after_the_other_and_gives_them_back(
    panel: Panel, lab: Jupyter, wb: Workbench
) -> None:
    panel.load("plus-one.onnx")
    panel.expect_model("plus-one")
    before = wb["plus-one"].status.config
    tests = section(panel)
    form = tests.get_by_role("form", name="Begin a load test")
    form.get_by_label("Load", exact=True).select_option("users")
    form.get_by_label("Duration", exact=True).fill("1s")
    form.get_by_role("button", name="Try settings").click()
    form.get_by_label("Largest batch", exact=True).check()
    form.get_by_label("Queue delay", exact=True).check()
    form.get_by_label("Largest batch, values").fill("1:8")
    form.get_by_label("Queue delay, values").fill("0:soon")
    expect(form).to_contain_text("Times, as 0:1ms:5ms")
    form.get_by_label("Queue delay, values").fill("0:2ms")
    expect(form).to_contain_text("4 tests, one for each combination.")
    assert panel.barriers() == []
    form.get_by_role("button", name="Start the sweep").click()

    running = tests.get_by_role("group", name=re.compile("Load test plus-one-.*, under way"))
    expect(running).to_contain_text("2 of 4: batch=1, delay=2ms")
    run = running.get_attribute("data-run") or ""
    assert wb["plus-one"].status.config.max_batch_size == 1
    expect(running).to_have_count(0)
    entry = tests.get_by_role("listitem", name=run, exact=True)
    expect(entry.get_by_role("row", name=re.compile("batch=8, delay=2ms"))).to_be_visible()
    entry.get_by_role("button", name=f"Open report of {run}").click()
    report = panel.page.frame_locator(f'iframe[title="Report of the load test {run}"]')
    expect(report.get_by_text("Throughput and latency").first).to_be_visible()

    form.get_by_label("Duration", exact=True).fill("60s")
    form.get_by_role("button", name="Start the sweep").click()
    expect(running).to_contain_text("1 of 4: batch=1")
    running.get_by_role("button", name="Stop the load test").click()
    expect(running).to_have_count(0)
    panel.part("plus-one", "Settings")  # it shows what is in force
    expect(panel.card("plus-one").locator('[data-setting="max_batch_size"]')).to_have_value(str(before.max_batch_size))
    assert wb["plus-one"].status.config == before


def test_what_cannot_be_run_is_said_where_it_was_typed(lab: Jupyter, wb: Workbench, open_page: OpenPage) -> None:
    panel = open_panel(open_page(forgive="400"), lab)
    tests = section(panel)
    expect(tests).to_contain_text("Load a model, and how many requests it takes is found out here.")
    panel.load("plus-one.onnx")
    panel.expect_model("plus-one")
    form = tests.get_by_role("form", name="Begin a load test")
    form.get_by_label("Duration", exact=True).fill("soon")
    expect(form).to_contain_text("A time, as 10s or 2m")
    expect(form.get_by_role("button", name="Start the test")).to_be_disabled()
    form.get_by_label("Load", exact=True).select_option("search")
    form.get_by_label("Duration", exact=True).fill("2s")
    form.get_by_label("Must hold", exact=True).fill("p99 soon")
    form.get_by_role("button", name="Start the test").click()
    expect(form.get_by_role("alert")).to_contain_text("p99 soon")


def test_patterns_that_the_server_describes_can_be_chosen_and_run(panel: Panel, lab: Jupyter) -> None:
    panel.load("plus-one.onnx")
    panel.expect_model("plus-one")
    form = section(panel).get_by_role("form", name="Begin a load test")
    load = form.get_by_label("Load", exact=True)
    expect(load.get_by_role("option")).to_have_text([*(each.title for each in PATTERNS), "Find the limit"])
    load.select_option("replay")
    times = form.get_by_label("Arrival times in seconds", exact=True)
    expect(form.get_by_role("button", name="Start the test")).to_be_disabled()
    times.fill("0\n0.2\n0.4\n0.6")
    form.get_by_role("button", name="Options").click()
    form.get_by_label("Warm-up", exact=True).fill("0")
    assert panel.barriers() == []
    form.get_by_role("button", name="Start the test").click()
    entries = section(panel).get_by_role("listitem")
    expect(entries.filter(has_text="4 recorded arrivals for 0.8 s")).to_be_visible()
    load.select_option("sine")
    form.get_by_label("Highest, per second", exact=True).fill("40")
    form.get_by_label("Duration", exact=True).fill("1s")
    form.get_by_role("button", name="Start the test").click()
    expect(entries.filter(has_text="a sine from 20 to 40 requests/s and back in 60 s for 1 s")).to_be_visible()
