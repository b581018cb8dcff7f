"""A load test's options, and the plan that a user's choice of them makes: the same for Python, `%infer bench`, the
command line and Jupyter.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from workbench.errors import InvalidInput
from workbench.loadtest.option_schema import TEXT, Option
from workbench.loadtest.patterns import PATTERNS, Constant, Pattern
from workbench.loadtest.plan import PLAN_OPTIONS, WARM_UP, Inputs, Plan, Target

OPTIONS: Mapping[str, Option] = {
    option.name: option for options in (*(each.options for each in PATTERNS), PLAN_OPTIONS) for option in options
}
"""The options of all patterns and those of every plan, by name."""

SWEEP = Option(
    "sweep",
    TEXT,
    "the same load with each combination of settings: batch,delay or batch=1:8:32",
    "Settings to try",
    example="batch,delay",
)
ENDPOINT = Option(
    "endpoint",
    TEXT,
    "another server of the Open Inference Protocol: http://HOST:PORT or grpc://HOST:PORT",
    "Endpoint",
    example="URL",
)
VERSION = Option("version", TEXT, "of this version instead of the one that serves", "Version", example="V")
COMPARE = Option("compare", TEXT, "and compare the result with this earlier run", "Compare with", example="RUN")


def plan_of(
    target: Target, *, inputs: Any = None, requests: Sequence[Any] | None = None, rows: object = None, **options: Any
) -> Plan:
    """The plan of these OPTIONS; those that are None were not given. Raises InvalidInput.

    `inputs` are sampled by row, `requests` sent as they are. Exactly one option selects a pattern; with `slo` alone
    the plan is the one that a search begins with.
    """
    given = {name: value for name, value in options.items() if value is not None}
    check_names(given, OPTIONS)
    pattern = _pattern(given)
    fields: dict[str, Any] = {}
    for option in PLAN_OPTIONS:
        if option.name in given:
            fields |= option.read(given[option.name])
    warm_up_s = fields.get("warm_up_s", WARM_UP.default_value)
    fields["duration_s"] = pattern.measured_s(fields.get("duration_s"), warm_up_s)
    return Plan(target, pattern, _inputs(inputs, requests, rows), **fields)


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Raises InvalidInput for a name that is not known, with the nearest that is."""
    if unknown := [name for name in given if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        raise InvalidInput(f"there is no option {unknown[0][:80]!r}" + (f", did you mean {near[0]!r}?" if near else ""))


def searches(options: Mapping[str, Any]) -> bool:
    """Whether these options ask for the highest rate that holds: an `slo`, and no pattern."""
    return bool(options.get("slo")) and all(options.get(each.options[0].name) is None for each in PATTERNS)


def _pattern(given: Mapping[str, Any]) -> Pattern:
    selected = [each for each in PATTERNS if each.options[0].name in given]
    if len(selected) > 1:
        names = " and ".join(each.options[0].name for each in selected)
        raise InvalidInput(f"{names} were given; requests come in one way: {_EXAMPLES}")
    if not selected and "slo" not in given:
        raise InvalidInput(f"say how requests are to come: {_EXAMPLES}")
    pattern = selected[0] if selected else Constant
    foreign = {option.name for each in PATTERNS for option in each.options} - {each.name for each in pattern.options}
    for name in sorted(foreign & given.keys()):
        option = OPTIONS[name]
        if option.read(given[name]) != (option.read(option.default) if option.default else {name: False}):
            owners = " or ".join(each.options[0].name for each in PATTERNS if option in each.options)
            raise InvalidInput(f"{name} goes with {owners}, not with {pattern.options[0].name}")
    return pattern.from_options({"rate": 100.0, **given} if not selected else given)


_EXAMPLES = (
    ", ".join(
        f"{option.name}={option.example or option.name.upper()}" for option in (each.options[0] for each in PATTERNS)
    )
    + "; slo='p99<20ms' alone searches the highest rate that holds"
)


def _inputs(inputs: Any, requests: Sequence[Any] | None, rows: object) -> Inputs:
    if inputs is not None and requests is not None:
        raise InvalidInput("inputs are sampled by row, requests are sent as they are: give one of them")
    size = {} if rows is None else OPTIONS["rows"].read(rows)
    if requests is not None:
        return Inputs("requests", values=requests, **size)
    return Inputs("random" if inputs is None else "rows", values=inputs, **size)
