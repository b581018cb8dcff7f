"""Escapes characters with which text of others could pass for something else where it is shown.

Names in a model's file, request ids and what a runtime says of a model are a stranger's text. Shown as it is, such text
can begin a line of its own in a log, move a terminal's cursor or colour what follows, reorder what a reader sees
(bidirectional controls), and hide a part of itself. Every place that shows text to a person or writes it to a log
passes it through `visible`; where the text goes on as data it stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

_HARMFUL: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls, C0 and C1: escape sequences, and NEXT LINE (U+0085)
    "\u2028\u2029"  # line and paragraph separator
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # direction of text
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u3164"  # never drawn
    "\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e00ff"  # never drawn, tags among them
    "\ud800-\udfff"  # lone surrogates, which no encoder takes
    "]"
)


def visible(text: str, keep: str = "") -> str:
    """Return `text` on one line, with each such character as Python's escape of it (`\\x1b`, `\\u202e`).

    `keep` are characters that may stay: "\\n" where several lines are meant. Other letters of every script stay as they
    are, and so does a backslash: the result is for reading, not for decoding.
    """
    if text.isprintable():
        return text
    return _HARMFUL.sub(lambda found: found[0] if found[0] in keep else _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    short = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    if short is not None:
        return short
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
