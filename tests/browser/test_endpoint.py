"""Sharing a model from the panel: the link, who uses it, and its end. The owner is told of the first call."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.jupyter import Jupyter
from tests.browser.notebook_page import open_notebook, run, save, write_notebook
from tests.browser.panel import PANEL, Panel, open_panel
from workbench.api import Workbench

INPUTS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


@pytest.fixture(autouse=True)
def unshared(wb: Workbench) -> Iterator[None]:
    yield
    for share in wb.shares():
        wb.revoke(share.id)


def section(panel: Panel) -> Locator:
    return panel.root.get_by_role("region", name="Endpoint", exact=True)


def posted(url: str, body: object, token: str = "") -> dict[str, object]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def claimed(link: str) -> tuple[str, str]:
    """The token that the link gives, and the address to call with it."""
    url = urlsplit(link)
    given = posted(f"{url.scheme}://{url.netloc}{url.path}", {"code": url.fragment})
    return str(given["token"]), f"{given['url']}/v2/models/plus/infer"


def test_a_model_is_shared_by_keyboard_its_first_call_is_told_and_it_is_revoked(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    panel = open_panel(open_page(forgive="status of 400"), lab)
    endpoint = section(panel)
    panel.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    label = endpoint.get_by_role("textbox", name="With")
    label.fill("team a")
    expect(endpoint).to_contain_text("Up to 64 letters")
    expect(endpoint.get_by_role("button", name="Share", exact=True)).to_be_disabled()
    label.fill("team-a")
    expires = endpoint.get_by_role("textbox", name="Expires after")
    expires.fill("400d")
    label.press("Enter")
    expect(endpoint.get_by_role("alert")).to_contain_text("366d at most")
    fold = endpoint.get_by_role("button", name="Endpoint", exact=True)
    fold.press("Enter")
    expect(label).to_be_hidden()
    fold.press("Enter")
    expect(label).to_have_value("team-a")  # what was typed is still there
    expect(expires).to_have_value("400d")
    expires.fill("7d")
    label.press("Enter")
    expect(endpoint.get_by_role("alert")).to_have_count(0)
    link = endpoint.get_by_label("Link for team-a")
    expect(link).to_have_value(re.compile("/share/claim#."))
    address = link.input_value()
    endpoint.get_by_role("button", name="Copy the link").press("Enter")
    assert panel.page.evaluate("navigator.clipboard.readText()") == address
    share = endpoint.get_by_role("listitem", name="team-a")
    expect(share).to_contain_text("Link not used yet")
    expect(share).to_contain_text("plus · 20/s · 16 at once")

    label.fill("team-a")
    expect(endpoint).to_contain_text("team-a has a share already")
    label.fill("")

    token, url = claimed(address)
    expect(share).to_contain_text("Active")
    expect(link).to_be_hidden()
    expect(endpoint).to_contain_text("team-a has the token: the link was used")
    assert posted(url, INPUTS, token)["model_name"] == "plus"
    toast = panel.page.get_by_role("alert").filter(has_text="team-a made its first call")
    expect(toast).to_contain_text("the share of plus is in use")
    assert posted(url, INPUTS, token)["model_name"] == "plus"
    expect(share.locator('[data-figure="Requests"] dd')).to_have_text("2")
    expect(share.locator('[data-figure="Rows"] dd')).to_have_text("2")
    expect(share.locator('[data-figure="p99"] dd')).to_contain_text("s")
    expect(toast).to_have_count(1)
    assert token not in panel.page.content()

    share.get_by_role("button", name="Revoke").press("Enter")
    dialog = panel.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Revoke the share of team-a?")
    panel.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert posted(url, INPUTS, token)["model_name"] == "plus", "it was not confirmed"
    share.get_by_role("button", name="Revoke").press("Enter")
    dialog.get_by_role("button", name="Revoke", exact=True).press("Enter")
    expect(endpoint.get_by_role("button", name=re.compile(r"\d ended share"))).to_be_visible()
    expect(share).to_have_count(0)
    assert endpoint.evaluate("section => section.contains(document.activeElement)")
    with pytest.raises(urllib.error.HTTPError) as caught:
        posted(url, INPUTS, token)
    with caught.value:
        assert caught.value.code == 401


@pytest.mark.long
def test_what_is_shared_elsewhere_is_listed_in_the_dark_and_where_it_is_narrow(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    version = wb.models()[0].version
    wb.share("plus", label="the-team-with-a-long-name-that-goes-on-and-on-and-on", expires="12h")
    panel = open_panel(open_page(width=720, height=1000, dark=True), lab)
    endpoint = section(panel)
    expect(endpoint).to_contain_text("plus · no rate limit · 16 at once")
    endpoint.get_by_role("textbox", name="With").fill("team-b")
    endpoint.get_by_role("button", name="More limits").click()
    endpoint.get_by_role("textbox", name="Rows a second").fill("2000/s")
    endpoint.get_by_role("textbox", name="Only version").fill(version)
    endpoint.get_by_role("checkbox", name="metrics").check()
    endpoint.get_by_role("button", name="Share", exact=True).click()
    expect(endpoint.get_by_label("Link for team-b")).to_be_visible()
    expect(endpoint).to_contain_text(f"plus v{version} · 20/s · 2,000 rows/s · 16 at once · metrics")
    expect(endpoint.get_by_role("button", name="More limits: 3 set")).to_be_visible()
    assert panel.barriers(f"#{PANEL}") == []
    too_wide = endpoint.evaluate(
        """section => [...section.querySelectorAll('*')]
            .filter(each => each.getBoundingClientRect().right > section.getBoundingClientRect().right + 1)
            .map(each => each.className)"""
    )
    assert too_wide == []


def test_from_a_cell_to_the_first_answer_of_a_teammate_who_has_only_the_link(
    lab: Jupyter, wb: Workbench, open_page: OpenPage, tmp_path: Path
) -> None:
    load = "%load_ext workbench\n%infer load plus plus-one.onnx"
    write_notebook(lab, load, "%infer share plus --with team-a --rate 20/s --expires 7d", "%infer shares")
    owner = open_page()
    open_notebook(owner, lab)
    outputs = owner.locator(".jp-OutputArea-output")
    run(owner)
    expect(outputs.first).to_contain_text("plus")
    began = time.monotonic()
    run(owner)
    shown = outputs.filter(has_text="/share/claim#")
    expect(shown).to_contain_text("plus shared with team-a")
    (link,) = re.findall(r"http://\S+/share/claim#[\w-]+", shown.inner_text())

    teammate = open_page(forgive="status of 404")
    teammate.goto(link)
    teammate.get_by_role("button", name="Get the token").click()
    field = teammate.get_by_label("Token", exact=True)
    expect(field).to_have_value(re.compile("^wbk_"))
    token = field.input_value()
    teammate.get_by_role("tab", name="Python (requests)").click()
    code = teammate.locator(".code pre").last.inner_text()
    nothing_else = {"PATH": os.environ["PATH"], "INFER_TOKEN": token}
    called = subprocess.run(
        [sys.executable, "-c", code], env=nothing_else, cwd=tmp_path, capture_output=True, text=True, timeout=90
    )
    took_s = time.monotonic() - began
    assert called.returncode == 0 and "2.5" in called.stdout, called.stderr
    assert took_s < 60

    toast = owner.get_by_role("alert").filter(has_text="team-a made its first call")
    expect(toast).to_be_visible()
    run(owner)
    expect(outputs.last).to_contain_text("holds")
    saved = json.dumps(save(owner, lab))
    assert "team-a" in saved and token not in saved
    toast.get_by_role("button", name="Show").click()
    share = section(Panel(owner)).get_by_role("listitem", name="team-a")
    expect(share.locator('[data-figure="Requests"] dd')).to_have_text(re.compile("^[1-9]"))
    teammate.goto("about:blank")
    teammate.goto(link)  # as anybody may who finds it in the notebook
    teammate.get_by_role("button", name="Get the token").click()
    expect(teammate.get_by_role("alert")).to_contain_text("used")
