from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from workbench.client import user_agent


@pytest.fixture(autouse=True)
def unspoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_agent, "_speaker", "")


def found(monkeypatch: pytest.MonkeyPatch, shell: object, session: str) -> str:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setenv("JPY_SESSION_NAME", session)
    return user_agent.user_agent()


def test_it_says_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = SimpleNamespace(kernel=object())
    assert f"(kernel of my notes.ipynb; pid {os.getpid()})" in found(monkeypatch, kernel, "/home/u/my notes.ipynb")
    assert "(kernel of a__b_.ipynb; " in found(monkeypatch, kernel, "a\r\nb\u00e9.ipynb")
    assert "(kernel; " in found(monkeypatch, kernel, "")
    assert "(Python; " in found(monkeypatch, SimpleNamespace(), "")
    assert "(Python; " in found(monkeypatch, None, "x.ipynb")


def test_who_knows_better_says_so() -> None:
    user_agent.speak_as("command line")
    assert user_agent.user_agent().startswith("infer-workbench/")
    assert "(command line; " in user_agent.user_agent()
