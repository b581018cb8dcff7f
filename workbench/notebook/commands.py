"""Parses `%infer` lines; the table of verbs and their flags. Pure.

A SOURCE or EXPR is the rest of the line as typed, spaces and brackets included, without the verb's flags, which may
stand anywhere outside brackets and quotes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from workbench.loadtest.option_schema import FLAG, Option
from workbench.loadtest.options import COMPARE, ENDPOINT, OPTIONS, SWEEP, VERSION


class Misuse(Exception):
    """Raised for a line that cannot be parsed; the message is one line."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb. Positions are as usage shows them; a last SOURCE, EXPR, FILE, ... is the rest of the line."""

    name: str
    summary: str
    positions: tuple[str, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)
    """Flag -> its value as the usage shows it; empty for a flag without a value."""
    defines: bool = False
    """True: only on top of a cell, which defines functions."""

    @property
    def usage(self) -> str:
        flags = [f"[{flag} {value}]" if value else f"[{flag}]" for flag, value in self.flags.items()]
        return " ".join(["%%infer" if self.defines else "%infer", self.name, *self.positions, *flags])


BENCH_OPTIONS = (*OPTIONS.values(), SWEEP, VERSION, ENDPOINT, COMPARE)
"""The options of `%infer bench`."""


def _value(option: Option) -> str:
    """The value in a usage line; empty: it takes none."""
    return "" if option.type is FLAG else "EXPR" if option.is_data else option.placeholder


_VERSION = {"--version": "V"}
_KEEP = {"-o": "VARIABLE"}

VERBS: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            "load",
            "serve a model: a path, bytes, an onnx.ModelProto or a fitted estimator; again to swap in a new version",
            ("NAME", "SOURCE"),
            {
                "--device": "auto|cpu|cuda",
                "--max-batch": "ROWS",
                "--delay": "5ms",
                "--instances": "N",
                "--sample": "EXPR",
                "--example": "EXPR",
                "--tolerance": "SHARE",
                "--signature": "NAME",
                "--as-python": "",
                "--batch": "",
                "--allow-code": "",
                "--no-route": "",
                "--force": "",
                **_KEEP,
            },
        ),
        Verb(
            "predict",
            "the model's answer for an expression of this notebook",
            ("NAME", "EXPR"),
            {**_VERSION, "--bg": "", **_KEEP},
        ),
        Verb(
            "pipeline",
            "serve models one after another as one: outputs become inputs by name",
            ("NAME", "STAGES"),
            {"--map": "b.x=a.y", "--max-batch": "ROWS", "--force": "", **_KEEP},
        ),
        Verb(
            "export",
            "write the model's file, with the data beside it, to a file of yours",
            ("NAME", "FILE"),
            {**_VERSION, "--force": "", **_KEEP},
        ),
        Verb(
            "function",
            "serve the `predict` that the cell below defines, or what it puts around a model, from its source",
            ("NAME",),
            {
                "--sample": "EXPR",
                "--model": "M",
                "--batch": "",
                "--tolerance": "SHARE",
                "--instances": "N",
                "--force": "",
                **_KEEP,
            },
            defines=True,
        ),
        Verb("models", "a table of the models; also %infer alone", (), {"--window": "60s"}),
        Verb("watch", "live figures of a model, or of the busiest, below this cell", ("[NAME]",), {"--window": "60s"}),
        Verb("panel", "a panel to load, watch, set and try models, below this cell"),
        Verb("show", "everything about one model", ("NAME",), _VERSION),
        Verb("unload", "finish the requests in flight, then free the memory of a model, or of digits:1", ("NAME",)),
        Verb("set", "change settings, live where possible", ("NAME", "KEY=VALUE")),
        Verb("versions", "a model's versions, which one serves, and which served when", ("NAME",), _KEEP),
        Verb(
            "label", "have labels point to versions, canary=2; canary=none takes one away", ("NAME", "KEY=VALUE"), _KEEP
        ),
        Verb(
            "route",
            "split the calls without a version: v2=10%; v2 alone gets all of them, v2=0 none",
            ("NAME", "[KEY=VALUE]"),
            {
                "--by": "PARAMETER",
                "--shadow": "v2=25%",
                "--keep-rows": "N",
                "--for": "SHARE",
                "--wait": "",
                "--force": "",
                **_KEEP,
            },
        ),
        Verb("shadow", "how the answers of a model's shadow differ from those that callers got", ("NAME",), _KEEP),
        Verb("rollback", "the version that served before serves again", ("NAME",), _KEEP),
        Verb(
            "rollout",
            "give a version more and more of the calls, as long as its guard holds; alone: how that stands",
            ("NAME", "[VERSION]"),
            {
                "--steps": "1,10,50,100",
                "--every": "5m",
                "--guard": "CLAUSES",
                "--on-breach": "rollback|halt",
                "--least-calls": "N",
                "--by": "PARAMETER",
                "--stop": "",
                "--resume": "",
                **_KEEP,
            },
        ),
        Verb("status", "the service: its state and why, where it is, what it uses"),
        Verb("restart", "restart the service in your version, after the requests in flight"),
        Verb("stop", "end the service; the next call starts it again, with the same models"),
        Verb("token", "the file with the service's token, or another token", (), {"--rotate": "", "--show": ""}),
        Verb(
            "share",
            "a token for somebody else, on this model alone, by a link that gives it once",
            ("NAME",),
            {
                "--with": "LABEL",
                "--rate": "20/s",
                "--row-rate": "2000/s",
                "--quota": "10000/day",
                "--row-quota": "1000000/day",
                **_VERSION,
                "--max-body": "1MB",
                "--metrics": "",
                "--expires": "7d",
                "--max-in-flight": "N",
                "--as-env": "FILE",
                "--show-token": "",
                "--host": "HOST",
                "--port": "PORT",
                "--grpc-port": "PORT",
                "--tls": "self-signed",
                "--tls-cert": "FILE",
                "--tls-key": "FILE",
                "--insecure": "",
                **_KEEP,
            },
        ),
        Verb("shares", "who may call what, until when, and how it is used", (), _KEEP),
        Verb("revoke", "end a share, by its label or id: its next call is refused", ("SHARE",)),
        Verb("port", "the port on a network that shares are called on", (), {"--close": "", **_KEEP}),
        Verb("audit", "who changed the service, and from where", (), {"--last": "7d", "--json": "", **_KEEP}),
        Verb("logs", "the service's last log lines", (), {"--lines": "N"}),
        Verb(
            "bench",
            "load-test a model: what it takes, at what latency, and where the time goes",
            ("NAME", "[EXPR]"),
            {
                **{option.flag: _value(option) for option in BENCH_OPTIONS},
                "--bg": "",
                **_KEEP,
            },
        ),
        Verb("history", "the load tests that are kept, the latest first", ("[NAME]",)),
        Verb(
            "compare",
            "two load tests, or two versions as digits:1 digits:2 [EXPR], and what is chance",
            ("RUN RUN",),
            {"--for": "60s", **_KEEP},
        ),
        Verb("help", "this, or what one verb takes", ("[VERB]",)),
    )
}

FLAGS: Mapping[str, str] = {
    "--device": "where to run; auto: on the GPU where it really runs there, else on the CPU",
    "--max-batch": "the most rows of one batch, and of one request (64)",
    "--delay": "how long a batch may wait to grow while a runner is free (0): 5ms, 200us, 0.01s",
    "--instances": "how many runs of the model may be under way at once; 1, the default: as was measured to be best",
    "--sample": "rows on which an estimator and its export are compared; without it they are made up",
    "--example": "what to call a torch module with, once: x, (x, y), or dict(ids=x); the same as --sample",
    "--tolerance": "the largest difference that passes, as a share of an output's largest value (0.001)",
    "--map": "what an input takes where names do not tell: STAGE.INPUT=STAGE.OUTPUT, or =NAME for an own input",
    "--signature": "which one to serve of a SavedModel that has several (serving_default)",
    "--as-python": "without an export: by its source and its values, in a Python process of its own",
    "--allow-code": "of a file or folder: it may be a Python function, whose code runs as the service's user",
    "--no-route": "beside the version that serves: it answers calls that name it, as digits:2",
    "--model": "the served model that the cell's preprocess, postprocess or both are put around",
    "--batch": "the function takes rows, and those of several requests may come in one call",
    "--force": "even where inputs or outputs change, on which callers may rely; of export: replace data beside it",
    "--by": "calls with the same value of this request parameter, or of one share, stay on one side",
    "--shadow": "a version that gets a copy of this part of the calls; callers never get its answers; none: no version",
    "--keep-rows": "of the rows whose answers differ most, in the service's memory: %infer shadow gives them back",
    "--wait": "for a load of the model that is under way",
    "--steps": "the parts of the calls that the version gets, in percent (1,10,50,100)",
    "--every": "how long a step takes, with enough calls (5m)",
    "--guard": "what must hold (errors<1.5x,p99<1.1x): errors<0.5%, p50, p95 or p99 as p99<1.2x or p99<20ms",
    "--on-breach": "rollback, the default: no calls any more; halt: it keeps its part",
    "--least-calls": "of each version, that a step needs to go on (200)",
    "--stop": "end the rollout: its version gets no calls but by name",
    "--resume": "begin the step again in which the rollout was halted",
    "--bg": "in the background: a job at once, to be awaited, cancelled, or asked for its .result()",
    "-o": "keep what it gives back in this variable of the notebook",
    "--rotate": "replace the token while the service runs; no other one is valid from then on",
    "--show": "the token too, which is then in the notebook's output",
    "--for": "how long two versions are compared: their calls (60s), or calls with rows of yours (5s); of route: the "
    "share whose calls alone are routed",
    "--lines": "how many (20)",
    "--last": "how far back (7d): 12h, 30min",
    "--json": "one JSON object a line",
    "--with": "whom the share is for: a word of yours",
    "--max-body": "the largest body of a share's requests: 1MB, 64KiB",
    "--metrics": "a share may read the metrics of its model, too",
    "--quota": "the most requests of a share on one UTC day: 10000",
    "--row-quota": "the most rows in these requests: 1000000",
    "--row-rate": "the most rows in a share's requests: 2000/s",
    "--expires": "how long a share holds (7d): 12h, 30min",
    "--max-in-flight": "how many of its requests may be under way at once (16)",
    "--as-env": "a new file for its address and token, INFER_URL and INFER_TOKEN, that only you can read",
    "--host": "open a port for shares there, such as 0.0.0.0; it needs --tls, --tls-cert or --insecure",
    "--port": "of --host, for HTTP (a free one)",
    "--grpc-port": "of --host, for gRPC (a free one)",
    "--tls": "self-signed: with TLS there, by a certificate that the service makes itself",
    "--tls-cert": "PEM: with TLS there, with this certificate",
    "--tls-key": "PEM: the certificate's private key",
    "--insecure": "without TLS there, where something else encrypts",
    "--close": "close it for good",
    "--show-token": "the token in place of a link; it is then in the notebook's output",
    **{option.flag: option.help_with_default for option in BENCH_OPTIONS},
    "--rate": f"{OPTIONS['rate'].help_with_default}; of share: the most requests it may send, 20/s, 600/min",
    "--window": "the figures of the last so many seconds or minutes: 60s, 5m",
}
"""Help text of each flag, which means the same with every verb that has it."""

_VALUE_VERBS = tuple(verb.name for verb in VERBS.values() if verb.positions[-1:] in (("SOURCE",), ("EXPR",)))

CELL_VERBS = (*_VALUE_VERBS, *(verb.name for verb in VERBS.values() if verb.defines))
"""The verbs of `%%infer`: those that take a value of the notebook, and those of a cell that defines functions."""

_HELP = ("--help", "-h")

_TAKES_THE_REST = ("SOURCE", "EXPR", "STAGES", "FILE", "KEY=VALUE", "RUN RUN", "SHARE")
_MAY_TAKE_THE_REST = ("[EXPR]", "[KEY=VALUE]", "[VERSION]")


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed line."""

    verb: str
    name: str = ""
    rest: str = ""
    """SOURCE or EXPR as typed, KEY=VALUE pairs, or the verb to explain."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Flag, with its dashes -> value; empty for a flag without a value."""


def parse(line: str, cell: bool = False) -> Command:
    """Parse a line without its `%infer`. Raises Misuse.

    `cell`: the line begins a `%%infer` cell, whose last expression takes the place of a SOURCE or EXPR.
    """
    words = list(tokens(line))
    if not words and not cell:
        return Command("models")
    if cell and (not words or words[0].text not in CELL_VERBS):
        hint = f"; {words[0].text} goes with %infer" if words and words[0].text in VERBS else ""
        raise Misuse(f"%%infer takes {', '.join(CELL_VERBS[:-1])} or {CELL_VERBS[-1]}, and a name{hint}")
    first, *others = (word.text for word in words)
    if first in _HELP:
        return Command("help")
    verb = _verb(first)
    if others == ["-h"] or others[-1:] == ["--help"]:
        return Command("help", rest=first)
    if verb.defines and not cell:
        raise Misuse(f"{verb.name} goes on top of a cell that defines functions: {verb.usage}")
    flags, kept = without_flags(verb, words[1:])
    positions = list(verb.positions)
    if verb.name == "help":
        return Command("help", rest=_verb(kept[0].text).name if kept else "")
    name = rest = ""
    if positions[:1] == ["[NAME]"]:
        name = kept.pop(0).text if kept else ""
        positions.pop(0)
    if positions[:1] == ["NAME"]:
        if not kept:
            raise Misuse(f"{verb.name} needs a model's name: {verb.usage}")
        name = kept.pop(0).text
        positions.pop(0)
    if cell and kept and not verb.defines:
        raise Misuse(f"in a %%infer cell the last expression is the {positions[0]}; take {kept[0].text!r} off the line")
    if not cell and positions and positions[0] in _TAKES_THE_REST:
        rest = as_typed(line, kept)
        if not rest:
            raise Misuse(f"{' '.join(filter(None, (verb.name, name)))} needs {positions[0]}: {verb.usage}")
    elif not cell and positions and positions[0] in _MAY_TAKE_THE_REST:
        rest = as_typed(line, kept)
    elif kept:
        raise Misuse(f"{verb.name} does not take {kept[0].text!r}: {verb.usage}")
    return Command(verb.name, name, rest, flags)


def pairs(text: str, verb: str = "set", example: str = "max_batch=32") -> dict[str, str]:
    """Parse `max_batch=8 delay=5ms` into a dict. Raises Misuse."""
    found = {}
    for token in tokens(text):
        key, equals, value = token.text.partition("=")
        if not (key and equals and value):
            raise Misuse(f"{verb} takes KEY=VALUE as {example}, got {token.text!r}")
        found[key] = value.strip("'\"")
    return found


def whole(flag: str, text: str) -> int:
    """Parse the value of a flag. Raises Misuse."""
    try:
        return int(text)
    except ValueError:
        raise Misuse(f"{flag} must be a whole number, got {text[:40]!r}") from None


def number(flag: str, text: str) -> float:
    """Parse the value of a flag. Raises Misuse."""
    try:
        return float(text)
    except ValueError:
        raise Misuse(f"{flag} must be a number, got {text[:40]!r}") from None


def help_text(verb: str = "") -> tuple[str, ...]:
    """Help lines: all verbs, or one of them with its flags."""
    if verb:
        known = VERBS[verb].flags
        wide = max((len(f"{flag} {value}") for flag, value in known.items()), default=0)
        flags = [f"  {f'{flag} {value}':<{wide}}  {FLAGS[flag]}" for flag, value in known.items()]
        magic = "%%infer" if VERBS[verb].defines else "%infer"
        return (" ".join([magic, verb, *VERBS[verb].positions]), f"    {VERBS[verb].summary}", *flags)
    width = max(len(" ".join((each.name, *each.positions))) for each in VERBS.values())
    lines = [f"  {' '.join((each.name, *each.positions)):<{width}}  {each.summary}" for each in VERBS.values()]
    notes = (
        "%infer help VERB tells its flags, as %infer VERB --help does.",
        f"%%infer {'|'.join(_VALUE_VERBS)} NAME, on top of a cell, takes the value of the cell's last expression.",
    )
    return ("%infer VERB ...", *lines, *notes)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a line, with its position."""

    text: str
    start: int
    end: int


def tokens(line: str) -> Iterator[Token]:
    """Split a line at spaces outside brackets and quotes, up to a comment."""
    start, depth, quote = -1, 0, ""
    for i, char in enumerate(line):
        if quote:
            quote = "" if char == quote and line[i - 1] != "\\" else quote
        elif char.isspace() and depth <= 0:
            if start >= 0:
                yield Token(line[start:i], start, i)
            start = -1
            continue
        elif char == "#" and start < 0:
            return
        elif char in "'\"" and char in line[i + 1 :]:  # an unclosed one is an apostrophe
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        start = i if start < 0 else start
    if start >= 0:
        yield Token(line[start:], start, len(line))


def without_flags(verb: Verb, words: list[Token]) -> tuple[dict[str, str], list[Token]]:
    """Separate the flags and their values from the other words. Raises Misuse."""
    flags: dict[str, str] = {}
    kept: list[Token] = []
    waiting = iter(words)
    for token in waiting:
        flag, equals, value = token.text.partition("=")
        if not (flag in verb.flags or (flag.startswith("--") and flag[2:3].isalpha())):
            kept.append(token)
            continue
        if flag not in verb.flags:
            raise Misuse(f"{verb.name} has no flag {flag}{_near(flag, verb.flags)}: {verb.usage}")
        if not verb.flags[flag]:
            if equals:
                raise Misuse(f"{flag} takes no value: {verb.usage}")
        elif not equals:
            following = next(waiting, None)
            if following is None or following.text.partition("=")[0] in verb.flags:
                raise Misuse(f"{flag} needs a value, {verb.flags[flag]}: {verb.usage}")
            value = following.text
        flags[flag] = value
    return flags, kept


def as_typed(line: str, kept: list[Token]) -> str:
    """Join the kept pieces with the spaces that were between neighbours."""
    text = ""
    for before, token in zip([None, *kept], kept, strict=False):
        if before is not None:
            between = line[before.end : token.start]
            text += between if not between.strip() else " "
        text += token.text
    return text


def _verb(word: str) -> Verb:
    if word not in VERBS:
        raise Misuse(f"there is no verb {word!r}{_near(word, VERBS)}; the verbs are {', '.join(VERBS)}")
    return VERBS[word]


def _near(word: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {near[0]}" if near else ""
