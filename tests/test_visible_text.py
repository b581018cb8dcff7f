from __future__ import annotations

import pytest

from tests.helpers.hostile_text import HARMFUL, HOSTILE, harmful_in
from workbench.errors import InvalidInput
from workbench.visible_text import visible


@pytest.mark.parametrize("char", HARMFUL, ids=ascii)
def test_a_harmful_character_is_shown_as_pythons_escape_of_it(char: str) -> None:
    assert visible(f"a{char}b") == "a" + repr(char)[1:-1] + "b"


def test_hostile_text_is_one_line_that_can_be_encoded() -> None:
    shown = visible(HOSTILE)
    assert not harmful_in(shown, keep="")
    assert shown.splitlines() == [shown]
    assert shown.encode().decode() == shown


def test_letters_of_all_scripts_stay() -> None:
    for text in ("", "Zürich ☃", "数字 モデル", "عربي", "עברית", "C:\\models", "a\u00a0b", "e\u0301", "\U0001f600"):
        assert visible(text) is text or visible(text) == text


def test_what_is_to_be_kept_stays() -> None:
    assert visible("a\nb\tc\x1b", keep="\n\t") == "a\nb\tc\\x1b"


def test_an_error_that_quotes_a_stranger_is_one_line() -> None:
    error = InvalidInput(f"no such input {HOSTILE}")
    for shown in (str(error), error.message, *error._render_traceback_()):
        assert not harmful_in(shown, keep="")
