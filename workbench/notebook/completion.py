"""Tab completion for `%infer` lines.

It offers verbs, models, flags, settings with their choices, the notebook's names, and files, each only where it fits.
Inside an expression it offers what IPython would for that expression alone.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
    provisionalcompleter,
)

from workbench.client.model_settings import SHORT_NAMES
from workbench.config import ModelConfig
from workbench.core.runtime import suffixes
from workbench.errors import WorkbenchError
from workbench.notebook.commands import CELL_VERBS, VERBS, Misuse, Verb, as_typed, tokens, without_flags

if TYPE_CHECKING:
    from workbench.api import Workbench

_LINE = re.compile(r"\s*(?:[A-Za-z_][^=%]*=\s*)?%(?P<cell>%)?infer\s(?P<rest>.*)")
"""`%infer ...`, alone or assigned from, or `%%infer ...`."""

MATCHER = "workbench.infer"
"""Identifies our matcher among IPython's."""

FIRST = 1000
"""Priority of our matcher, above all others so that none of them runs."""

_CHOICES = {"device": ("auto", "cpu", "cuda"), "batching": ("auto", "proved", "always", "never")}
"""Setting -> its values, for settings that take a word."""

_PATHLIKE = re.compile(r"[\w.~/\\ \-]*")
_NAME_OR_NOTHING = re.compile(r"\w*")


@dataclass(frozen=True, slots=True)
class Offer:
    """Replacements for `fragment`, the end of the line up to the cursor."""

    fragment: str
    options: tuple[str, ...] = ()
    kind: str = ""
    """The type that JupyterLab shows with each option."""
    expression: bool = False
    """Whether `fragment` is part of an expression, which IPython completes."""


def offer(
    line: str,
    models: Callable[[], Iterable[str]],
    variables: Iterable[str],
    versions: Callable[[str], Iterable[str]] = lambda name: (),
) -> Offer | None:
    """Completions at the end of `line`, which ends at the cursor; None unless it is an `%infer` line.

    `models` is called only where a model's name fits, `versions` only where a version fits.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    rest = match["rest"]
    before = [token for token in tokens(rest) if token.end < len(rest)]
    word = rest[before[-1].end :].lstrip() if before else rest.lstrip()
    if not before:
        return _fitting(word, CELL_VERBS if match["cell"] else VERBS, "magic")
    verb = VERBS.get(before[0].text)
    if verb is None:
        return Offer(word)
    typed = [token.text for token in before[1:]]
    if word.startswith("-"):
        flag, equals, value = word.partition("=")
        if not equals:
            return _fitting(word, [each for each in verb.flags if each not in typed], "param")
    elif typed and verb.flags.get(typed[-1]):
        flag, value = typed[-1], word
    else:
        flag = ""
    if flag == "--version" and flag in verb.flags:
        name = next((each for each in typed if not each.startswith("-")), "")
        return _fitting(value, versions(name) if name else (), "param")
    if flag:
        return _value(flag, value, verb, variables)
    try:
        _, kept = without_flags(verb, before[1:])
    except Misuse:
        return Offer(word)
    position = verb.positions[min(len(kept), len(verb.positions) - 1)] if verb.positions else ""
    if position in ("NAME", "[NAME]"):
        return Offer(word) if kept else _fitting(word, models(), "instance")
    if position == "[VERB]":
        return Offer(word) if kept else _fitting(word, VERBS, "magic")
    if position == "STAGES":
        return _fitting(word, models(), "instance")
    if position == "KEY=VALUE":
        return _setting(word)
    if match["cell"]:  # the value comes from the cell, so only flags are left
        return _fitting(word, [flag for flag in verb.flags if flag not in typed], "param")
    if position == "FILE":
        return _fitting(word, _paths(word), "path")
    so_far = (as_typed(rest, kept[1:]) + rest[kept[-1].end :]).lstrip() if kept else word
    if position == "SOURCE":
        return _source(so_far, word, list(variables), verb, typed)
    if position in ("EXPR", "[EXPR]"):
        return _expression(so_far, variables)
    return Offer(word)


def _fitting(fragment: str, options: Iterable[str], kind: str) -> Offer:
    return Offer(fragment, tuple(option for option in options if option.startswith(fragment)), kind)


def _value(flag: str, typed: str, verb: Verb, variables: Iterable[str]) -> Offer:
    if flag.lstrip("-") in _CHOICES:
        return _fitting(typed, _CHOICES[flag.lstrip("-")], "param")
    return _expression(typed, variables) if verb.flags.get(flag) in ("EXPR", "VARIABLE") else Offer(typed)


def _setting(word: str) -> Offer:
    name, equals, value = word.partition("=")
    if equals:
        return _fitting(value, _CHOICES.get(name, ()), "param")
    settings = [field.name for field in dataclasses.fields(ModelConfig)]
    return _fitting(word, [f"{each}=" for each in (*SHORT_NAMES, *settings)], "param")


def _expression(text: str, variables: Iterable[str]) -> Offer:
    if _NAME_OR_NOTHING.fullmatch(text):
        return _fitting(text, variables, "instance")
    return Offer(text, expression=True)


def _source(text: str, word: str, variables: list[str], verb: Verb, typed: list[str]) -> Offer:
    """Offer variables, paths or an expression; after a complete one, flags."""
    bare = text.lstrip("'\"")
    attribute = "." in text and text.partition(".")[0] in variables
    if not attribute and _PATHLIKE.fullmatch(bare) and (paths := _paths(bare)):
        names = [name for name in variables if name.startswith(text)]
        return Offer(bare, (*names, *paths), "path" if not names else "instance")
    if not word and text:
        return _fitting(word, [flag for flag in verb.flags if flag not in typed], "param")
    return _expression(text, variables)


def _paths(typed: str) -> list[str]:
    """Folders and model files whose path begins with `typed`."""
    folder, start = os.path.split(typed)
    try:
        entries = sorted(Path(folder or ".").expanduser().iterdir())
    except (OSError, RuntimeError):
        return []
    return [
        typed[: len(typed) - len(start)] + entry.name + (os.sep if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(start)
        and (entry.is_dir() or entry.suffix in suffixes())
        and (start.startswith(".") or not entry.name.startswith("."))
    ]


class _Nothing(tuple[SimpleCompletion, ...]):
    """No completions, nor any of other matchers: to suppress them, IPython wants a result with a length."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1


def matcher(shell: Any, running: Callable[[], Workbench | None]) -> Callable[[CompletionContext], Any]:
    """A matcher for `shell.Completer.custom_matchers`. It asks the service that runs, and starts none."""

    def models() -> list[str]:
        try:
            workbench = running()
            return list(workbench) if workbench is not None else []
        except WorkbenchError:
            return []

    def versions(name: str) -> list[str]:
        try:
            workbench = running()
            return [each.version for each in workbench.models() if each.name == name] if workbench is not None else []
        except WorkbenchError:
            return []

    def infer_matcher(context: CompletionContext) -> SimpleMatcherResult:
        variables = [name for name in shell.user_ns if not name.startswith("_") and name not in shell.user_ns_hidden]
        found = offer(context.text_until_cursor, models, variables, versions)
        if found is None:
            return SimpleMatcherResult(completions=[], suppress=False)
        if found.expression:
            found = _pythons_own(shell, found.fragment)
        completions = [SimpleCompletion(text=option, type=found.kind) for option in found.options]
        return SimpleMatcherResult(
            completions=completions or _Nothing(), matched_fragment=found.fragment, suppress=True, ordered=True
        )

    declared: Callable[[CompletionContext], Any] = context_matcher(identifier=MATCHER, priority=FIRST)(infer_matcher)
    return declared


def _pythons_own(shell: Any, expression: str) -> Offer:
    """IPython's completions at the end of `expression` on a line of its own."""
    with provisionalcompleter():
        found = list(shell.Completer.completions(expression, len(expression)))
    start = min((each.start for each in found), default=len(expression))
    options: Iterator[str] = (expression[start : each.start] + each.text for each in found)
    return Offer(expression[start:], tuple(dict.fromkeys(options)))
