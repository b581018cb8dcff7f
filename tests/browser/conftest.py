"""A real browser on a real Jupyter: the machine's own Chromium, which `make test` looks for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

import workbench
from tests import models
from tests.browser.jupyter import Jupyter
from tests.browser.panel import Panel, open_panel
from workbench.api import Workbench

NOTEBOOKS = Path(workbench.__file__).parents[1] / "notebooks"

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

expect.set_options(timeout=60_000)  # a busy machine is slow; how soon something must show, its test asserts


def chromium() -> str:
    """The path of the machine's browser."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found, f"no browser: install Chromium (on Debian, apt-get install chromium); looked for {', '.join(NAMES)}"
    return found


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # For these tests only: while it lives, Playwright keeps an event loop running in this thread.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Jupyter]:
    """A Jupyter that is not started yet, on an empty folder."""
    root = tmp_path / "root"
    root.mkdir()
    jupyter = Jupyter(tmp_path, root)
    yield jupyter
    jupyter.end()


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A JupyterLab with the quickstart, two models and a file that is none. It is dark where the page is."""
    home = tmp_path_factory.mktemp("lab")
    root = home / "root"
    shutil.copytree(NOTEBOOKS, root / "notebooks", ignore=shutil.ignore_patterns(".*"))
    models.save(models.add_constant(1.0), root / "plus-one.onnx")
    models.save(models.add_constant(2.0), root / "plus two.onnx")
    (root / "broken.onnx").write_bytes(b"this is no model")
    jupyter = Jupyter(home, root)
    jupyter.settings["@jupyterlab/apputils-extension/themes"] = {"adaptive-theme": True}
    jupyter.start()
    yield jupyter
    jupyter.end()


@pytest.fixture
def wb(lab: Jupyter) -> Iterator[Workbench]:
    """The service of this JupyterLab, which runs and serves nothing."""
    with lab.served() as wb:
        for name in list(wb):
            wb.unload(name)
        yield wb


@pytest.fixture
def panel(lab: Jupyter, wb: Workbench, open_page: OpenPage) -> Panel:
    panel = open_panel(open_page(), lab)
    panel.expect_state("Ready")
    return panel


class Watched:
    """What a page did that it should not have done."""

    def __init__(self, page: Page, forgive: str) -> None:
        self._forgive = forgive
        self.errors: list[str] = []
        self.requests: list[str] = []
        """Every URL that was asked for, sockets included, in order."""
        page.on("console", lambda said: self._error(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._error(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _error(self, text: str) -> None:
        if not self._forgive or not re.search(self._forgive, text):
            self.errors.append(text)

    def foreign(self) -> list[str]:
        """Requests that left this machine."""
        local = ("localhost", "127.0.0.1", None)
        return [url for url in self.requests if urlsplit(url).hostname not in local]


OpenPage = Callable[..., Page]


@contextmanager
def pages(browser: Browser) -> Iterator[OpenPage]:
    """Opens a page in a context of its own. At the end no page may have left the machine, nor logged an error that the
    pattern `forgive` does not match: browsers call any refused request one."""
    opened: list[tuple[Page, Watched]] = []

    def open_page(width: int = 1400, height: int = 900, dark: bool = False, forgive: str = "") -> Page:
        size = ViewportSize(width=width, height=height)
        context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light")
        page = context.new_page()
        opened.append((page, Watched(page, forgive)))
        return page

    yield open_page
    for page, watched in opened:
        page.context.close()
        assert not watched.errors
        assert not watched.foreign()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    with pages(browser) as open_page:
        yield open_page
