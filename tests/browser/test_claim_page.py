"""The page behind a share's link, as a teammate opens it: a token by one button, once, and code that runs as pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import models
from tests.browser.jupyter import Jupyter
from workbench.api import Workbench
from workbench.client.share_results import Share
from workbench.errors import NotFound

PHONE = {"width": 360, "height": 740}


@pytest.fixture
def shared(wb: Workbench, lab: Jupyter) -> Iterator[Share]:
    wb.load("plus", lab.root / "plus-one.onnx")
    share = wb.share("plus", label="team-a", rate=50, expires="7d")
    yield share
    with suppress(NotFound):  # a test has revoked it
        wb.revoke("team-a")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    # What the tests ask for in vain is told on the page, and the browser logs it besides.
    assert [each for each in problems if not re.search("status of (400|401|404)", each)] == []


def claimed(page: Page, share: Share) -> str:
    page.goto(share.link)
    page.get_by_role("button", name="Get the token").click()
    field = page.get_by_label("Token", exact=True)
    expect(field).to_have_value(re.compile("^wbk_"))
    return field.input_value()


def test_a_teammate_gets_the_token_once_and_asks_the_model_on_the_page(
    page: Page, shared: Share, wb: Workbench
) -> None:
    token = claimed(page, shared)
    assert "#" not in page.url and token not in page.url
    expect(page.get_by_role("list")).to_contain_text("It may send 50 requests a second")
    expect(page.get_by_role("list")).to_contain_text("It ends on")
    expect(page.get_by_role("heading", name="plus")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("Answered after")
    expect(page.locator(".answer")).to_contain_text('"outputs"')
    page.get_by_label("The request as JSON").fill("{}")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("Error 400")
    expect(page.get_by_role("cell", name="/v2/models/plus/infer")).to_be_visible()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"], "the page is wider than a phone"

    again = page.context.new_page()
    again.goto(shared.link)
    again.get_by_role("button", name="Get the token").click()
    expect(again.get_by_role("alert")).to_contain_text("used")
    expect(again.get_by_label("Token", exact=True)).to_be_hidden()
    again.goto(shared.link.partition("#")[0])
    again.get_by_label("Enter your token").fill(token)
    again.get_by_role("button", name="Show").click()
    expect(again.get_by_role("heading", name="plus")).to_be_visible()

    wb.revoke(shared.id)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("Error 401")


def test_the_code_on_the_page_runs_as_it_is_pasted(page: Page, shared: Share, tmp_path: Path) -> None:
    token = claimed(page, shared)
    assert page.locator("#export").inner_text() == f"export INFER_TOKEN={token}"
    node = Path(sys.executable).with_name("node")
    ways = {
        "curl": ["bash", "-c"],
        "Python (requests)": [sys.executable, "-c"],
        "Python (tritonclient)": [sys.executable, "-c"],
        "JavaScript (Node.js 18 or later)": [str(node), "--input-type=module", "-e"],
    }
    expect(page.get_by_role("tab")).to_have_text(list(ways))  # they come after the token
    for label, command in ways.items():
        page.get_by_role("tab", name=label).click()
        source = page.locator(".code pre").last.inner_text()
        assert token not in source
        environment = {**os.environ, "INFER_TOKEN": token}
        ran = subprocess.run(
            [*command, source], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90
        )
        assert ran.returncode == 0, f"{label}: {ran.stderr}"
        assert re.search(r"2\.52|y", ran.stdout), ran.stdout


def test_through_the_jupyter_server_the_same_page_shows_what_a_hostile_model_is_called_as_text(
    page: Page, wb: Workbench, lab: Jupyter
) -> None:
    hostile = models.add_constant(1.0)
    name = '<img src=x onerror="document.title=1">=HYPERLINK("http://x")\u202e'
    hostile.graph.input[0].name = hostile.graph.node[0].input[0] = name
    wb.load("plus", models.save(hostile, lab.root / "hostile.onnx"))
    code = wb.share("plus", label="by-jupyter").link.partition("#")[2]
    try:
        page.goto(f"{lab.url}infer-workbench/endpoint/share/claim#{code}")
        page.get_by_role("button", name="Get the token").click()
        field = page.get_by_label("Token", exact=True)
        expect(field).to_have_value(re.compile("^wbk_"))
        token = field.input_value()
        assert "#" not in page.url and token not in page.url
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("status")).to_contain_text("Answered after")
        expect(page.locator(".answer")).to_contain_text('"outputs"')
        base = f"{lab.url}infer-workbench/endpoint"
        expect(page.locator(".code pre").last).to_contain_text(f"{base}/v2/models/plus/infer")
        assert page.locator("img").count() == 0 and page.title() != "1"
        assert "\u202e" not in page.locator("body").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        again = page.context.new_page()
        again.goto(f"{base}/share/claim#{code}")
        again.get_by_role("button", name="Get the token").click()
        expect(again.get_by_role("alert")).to_contain_text("used")
        again.close()
        page.screenshot(path="/tmp/shares/claim.png", full_page=True)
    finally:
        wb.revoke("by-jupyter")
