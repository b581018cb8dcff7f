"""The bar of a long call where there is no notebook: a line of the terminal, or nothing."""

from __future__ import annotations

import io
import sys

import pytest

from workbench.client.load_progress import Step
from workbench.notebook import progress_bar
from workbench.notebook.progress_bar import Bar, in_notebook

HALF = Step("answered", 1000, 2000, "row")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "SHOWN_AFTER_S", 0.0)


@pytest.mark.usefixtures("at_once")
def test_in_a_terminal_a_bar_is_one_line_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("predict digits") as bar:
        bar(HALF)
        bar(Step("answered", 2000, 2000, "row"))
    _, half, whole, end = terminal.getvalue().split("\r")
    assert half == "[############            ]  50% predict digits: answered: 1,000 of 2,000 rows"
    assert whole.startswith("[########################] 100%")
    assert end.strip().startswith("predict digits: done in ")
    assert terminal.getvalue().endswith("\n")


@pytest.mark.usefixtures("at_once")
def test_a_call_that_was_stopped_says_how_far_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(KeyboardInterrupt), Bar("predict digits") as bar:
        bar(HALF)
        raise KeyboardInterrupt
    assert "stopped after" in terminal.getvalue()
    assert "(answered: 1,000 of 2,000 rows)" in terminal.getvalue()


@pytest.mark.usefixtures("at_once")
def test_in_a_notebook_an_interrupt_while_the_bar_is_first_drawn_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    class Display:
        def display(self, bundle: dict[str, str], raw: bool) -> None:
            drawn.append(bundle["text/plain"])
            raise KeyboardInterrupt

        def update(self, bundle: dict[str, str], raw: bool) -> None:
            drawn.append(bundle["text/plain"])

    monkeypatch.setattr(progress_bar, "in_notebook", lambda: True)
    monkeypatch.setattr(progress_bar, "_new_display", Display)
    with pytest.raises(KeyboardInterrupt), Bar("predict digits") as bar:
        bar(HALF)
    assert len(drawn) == 2 and "stopped after" in drawn[-1]


@pytest.mark.usefixtures("at_once")
def test_a_file_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("predict digits") as bar:
        bar(HALF)
    assert capsys.readouterr() == ("", "")
    assert not in_notebook()


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("predict digits") as bar:
        bar(HALF)
    assert terminal.getvalue() == ""
