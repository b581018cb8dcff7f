"""Text that a stranger may put into a model's file, a request or an error. No reader may be shown it as it is."""

from __future__ import annotations

import unicodedata

HARMFUL = (
    *map(chr, (*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x2028, 0x2029, 0xFEFF, 0xE0041, 0xD800, 0xDFFF)),
    *map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070))),
)
FORGED = "2026-01-01T00:00:00.000Z INFO workbench.serve: forged"
HOSTILE = (
    '=HYPERLINK("http://x")<img src=x onerror=alert(1)>'
    f"x\n{FORGED}\r{FORGED}\x85{FORGED}\u2028{FORGED}\x1b[2J\x9b1m\u202egnp.exe\u2066\u200b\ud800 [bold][link=file:x]"
)
"""Is a formula and an element of HTML, ends its line in every way, moves the cursor, turns the direction, hides, and
cannot be encoded."""


def harmful_in(text: str, keep: str = "\n") -> set[str]:
    """The characters of `text` that Unicode classes as controls, formats, surrogates or separators of lines."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {char for char in text if char not in keep and unicodedata.category(char) in kinds}
