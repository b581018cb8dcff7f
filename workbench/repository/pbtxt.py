"""Protobuf's text format, as people write it in a config.pbtxt, to plain values and back, without knowing the messages.

A message is a dict of lists: every field may be there more than once. A number is an int or a float, a string a str, an
enum's name (and true, false, inf) a Word. Comments are passed over.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from workbench.errors import InvalidInput

MAX_DEPTH: Final = 32
MAX_FIELDS: Final = 50_000
MAX_TOKENS: Final = 300_000
"""Of all kinds: each takes 150 bytes, and there may be a thousand thousand in a file."""


class Word(str):
    """A bare word: an enum's name, true or false."""


Value: TypeAlias = "int | float | str | Message"
Message: TypeAlias = "dict[str, list[Value]]"

_TOKEN: Final = re.compile(
    r"""[\s]+ | \#[^\n]*
    | (?P<text>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
    | (?P<number>-?\s*(?:0[xX][0-9a-fA-F]+ | (?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]+)?[fF]?))(?![A-Za-z0-9_.])
    | (?P<word>-?[A-Za-z_][A-Za-z0-9_.]*)
    | (?P<mark>[{}\[\]<>:,;])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Message:
    """The message in `text`. InvalidInput, with the line and column, where it is not in the text format."""
    return _Reader(text).whole()


def text_of(message: Mapping[str, Sequence[Any]]) -> str:
    """The text of a message, a dict of lists, on one line. Enums may be strings in it; None is left out."""
    return " ".join(
        f"{name} {_text(value)}" for name, values in message.items() for value in values if value is not None
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {text_of(value)} }}"
    if isinstance(value, bool):
        return f": {str(value).lower()}"
    if isinstance(value, str):
        octets = "".join(
            f"\\x{each:02x}" if each < 32 or each > 126 or each in b'"\\' else chr(each) for each in value.encode()
        )
        return f': "{octets}"'
    return f": {value}"


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._next = 0
        self._fields = 0

    def whole(self) -> Message:
        return self._message("", 0)

    def _scan(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._wrong(at, f"{self._text[at : at + 20].splitlines()[0]!r} is not expected")
            if found.lastgroup is not None:
                if len(tokens) >= MAX_TOKENS:
                    raise self._wrong(at, f"there are more than {MAX_TOKENS} words, numbers and marks")
                tokens.append(_Token(found.lastgroup, found.group(), at))
            at = found.end()
        tokens.append(_Token("end", "", len(self._text)))
        return tokens

    def _message(self, closing: str, depth: int) -> Message:
        if depth > MAX_DEPTH:
            raise self._wrong(self._here.at, f"messages are nested more than {MAX_DEPTH} deep")
        message: Message = {}
        while True:
            token = self._take()
            if token.text == closing and token.kind in ("mark", "end"):
                return message
            if token.kind == "end":
                raise self._wrong(token.at, f"the text ends where {closing!r} is missing")
            if token.kind != "word":
                raise self._wrong(token.at, f"{token.text[:20]!r} is found where a field's name is expected")
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise self._wrong(token.at, f"there are more than {MAX_FIELDS} fields")
            message.setdefault(token.text, []).extend(self._values(token.text, depth))
            if self._here.text in (",", ";") and self._here.kind == "mark":
                self._take()

    def _values(self, name: str, depth: int) -> list[Value]:
        colon = self._skip(":")
        if not self._skip("["):
            return [self._value(name, colon, depth)]
        values: list[Value] = []
        if self._skip("]"):
            return values
        while True:
            values.append(self._value(name, colon, depth))
            if self._skip("]"):
                return values
            if not self._skip(","):
                raise self._wrong(self._here.at, f"',' or ']' is missing in the list of {name}")

    def _value(self, name: str, colon: bool, depth: int) -> Value:
        token = self._take()
        if token.kind == "mark" and token.text in "{<":
            return self._message("}" if token.text == "{" else ">", depth + 1)
        if not colon or token.kind in ("mark", "end"):
            raise self._wrong(token.at, f"a value is missing after {name}" if colon else f"':' is missing after {name}")
        if token.kind == "number":
            return self._number(token)
        if token.kind == "word":
            return Word(token.text)
        parts = [self._string(token)]
        while self._here.kind == "text":  # strings side by side are one
            parts.append(self._string(self._take()))
        return "".join(parts)

    def _number(self, token: _Token) -> int | float:
        text = "".join(token.text.split())
        try:
            if "x" in text or "X" in text:
                return int(text, 16)
            if text.lstrip("-").isdigit():
                octal = len(text.lstrip("-")) > 1 and text.lstrip("-").startswith("0")
                return int(text, 8 if octal else 10)
            return float(text.rstrip("fF"))
        except ValueError:
            raise self._wrong(token.at, f"{text[:40]!r} is no number") from None

    def _string(self, token: _Token) -> str:
        try:
            raw, _ = codecs.escape_decode(token.text[1:-1].encode())
            return str(raw, "utf-8")
        except (ValueError, UnicodeDecodeError):
            raise self._wrong(token.at, "the string has an escape that is none, or is not UTF-8") from None

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _skip(self, mark: str) -> bool:
        found = self._here.kind == "mark" and self._here.text == mark
        self._next += found
        return found

    def _wrong(self, at: int, what: str) -> InvalidInput:
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        return InvalidInput(f"line {line}, column {column}: {what}")
