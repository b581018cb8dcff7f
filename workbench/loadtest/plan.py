"""`Plan` describes one load test: a frozen dataclass, validated when it is made, and stored as JSON with its run.

Plan
    target      which model, where
    pattern     when requests come
    inputs      what they bring
    ...         warm-up, duration, connections, timeout
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from workbench.core.model import check_model_name
from workbench.errors import InvalidInput
from workbench.loadtest import option_schema as schema
from workbench.loadtest.option_schema import TEXT, VALUES, WHOLE, Option
from workbench.loadtest.patterns import MAX_USERS, Pattern, Users

DAY_S = 24 * 3600.0

SLO = Option(
    "slo",
    TEXT,
    "what must hold: with a pattern it is judged, alone the highest rate that holds is searched",
    "Must hold",
    example="p99<20ms",
)
DURATION = Option("duration", schema.DURATION, "how long to measure", "Duration", default="10s", maximum=DAY_S)
WARM_UP = Option(
    "warm_up",
    schema.DURATION,
    "how long to send before that, kept out of all figures",
    "Warm-up",
    default="1s",
    maximum=DAY_S,
    zero=True,
)
ROWS = Option("rows", WHOLE, "rows of the input in one request", "Rows per request", default="1", minimum=1)
REQUESTS = Option("requests", VALUES, "a list of inputs, sent in turn as they are", "Requests")
CONNECTIONS = Option(
    "connections", WHOLE, "the most connections to open", "Connections", default="256", minimum=1, maximum=MAX_USERS
)
TIMEOUT = Option(
    "timeout",
    schema.DURATION,
    "how long a request may take from when it was due",
    "Timeout",
    default="10s",
    maximum=DAY_S,
)
SEED = Option("seed", WHOLE, "seeds random arrivals and inputs", "Seed", default="0")

PLAN_OPTIONS = (SLO, DURATION, WARM_UP, ROWS, REQUESTS, CONNECTIONS, TIMEOUT, SEED)
"""The options that every pattern has."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a service of ours, or of any server of the Open Inference Protocol."""

    model: str
    url: str
    """http://HOST:PORT, https://HOST:PORT, or grpc://HOST:PORT."""
    version: str | None = None
    token: str | None = field(default=None, repr=False)
    controlled: bool = False
    """Whether it is a service of ours whose control plane the token opens; its own figures are then read, too."""
    control_url: str = ""
    """Address of the control plane where `url` is gRPC; empty: `url`."""
    token_file: str = ""
    """The file from which the token is read again when it was replaced; empty: none is known."""
    own: bool = False
    """Whether it is a service of this user on this machine; nothing is sent to a process of another user then."""
    ca_file: str = ""
    """PEM by which the certificate of an https:// target is known; empty: the machine's own authorities."""

    def __post_init__(self) -> None:
        check_model_name(self.model)
        parts = urlsplit(self.url)
        try:
            found = parts.scheme in ("http", "https", "grpc") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            found = False
        if not found or parts.username is not None or parts.query:
            raise InvalidInput(
                "a load test's target looks like http://127.0.0.1:8080 or grpc://127.0.0.1:8081"
                + ("; gRPC is load-tested without TLS only" * (parts.scheme == "grpcs"))
            )

    @property
    def grpc(self) -> bool:
        return self.url.startswith("grpc://")

    @property
    def tls(self) -> bool:
        return self.url.startswith("https://")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of requests, which are prepared before the run and sent in turn."""

    kind: str = "random"
    """"random": random values by the signature. "rows": `values` sampled by row. "requests": `values` is a list, each
    item one request."""
    rows: int = ROWS.default_value
    """Rows of a request, where the inputs have a free first axis; "requests" have their own."""
    values: Any = field(default=None, repr=False, compare=False)
    """An array, a DataFrame, a dict of arrays, or a list of such; a kept run does not have it."""
    free_size: int = 16
    """Random inputs only: the size of free axes other than the first."""

    def __post_init__(self) -> None:
        if self.kind not in ("random", "rows", "requests"):
            raise InvalidInput(f"the inputs of a load test are random, rows or requests, not {self.kind[:40]!r}")
        ROWS.check(self)
        if self.free_size < 1:
            raise InvalidInput(f"free_size must be 1 or more, got {self.free_size}")
        if self.kind != "random" and self.values is None:
            raise InvalidInput("no inputs were given: pass an array, a DataFrame, or a list of requests")
        if self.kind == "requests" and not (isinstance(self.values, list | tuple) and self.values):
            raise InvalidInput("requests are a list, each item the inputs of one request; this one is empty or no list")

    def __str__(self) -> str:
        each = f"{self.rows} row" + "s" * (self.rows != 1)
        if self.kind == "requests":
            return f"{len(self.values)} requests, in turn" if self.values is not None else "requests, in turn"
        return f"made-up inputs of {each}" if self.kind == "random" else f"{each} a request, sampled"


@dataclass(frozen=True, slots=True)
class Plan:
    """One load test. Raises InvalidInput when made, in words for a user."""

    target: Target
    pattern: Pattern
    inputs: Inputs = field(default_factory=Inputs)
    duration_s: float = DURATION.default_value
    """Seconds to measure, after the warm-up."""
    warm_up_s: float = WARM_UP.default_value
    """Seconds at the pattern's first rate, kept out of all figures."""
    connections: int = CONNECTIONS.default_value
    """The most that an open loop opens; when all are busy, requests wait in the generator and their wait counts.
    Users have one each."""
    timeout_s: float = TIMEOUT.default_value
    """A request is given up this long after it was due."""
    seed: int = SEED.default_value
    """Seeds random arrivals, and the choice of rows."""
    slo: str = ""
    """What must hold, as "p99<20ms,errors<0.1%"; empty: nothing was asked."""

    def __post_init__(self) -> None:
        for option in (DURATION, WARM_UP, CONNECTIONS, TIMEOUT, SEED):
            option.check(self)
        if self.slo:
            from workbench.loadtest.analysis.thresholds import parse_thresholds

            parse_thresholds(self.slo)

    @property
    def open_loop(self) -> bool:
        return not isinstance(self.pattern, Users)

    def described(self) -> dict[str, Any]:
        """The plan as JSON, for a run to be kept and compared with; without the token and the inputs' values."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        target = dataclasses.asdict(self.target)
        del target["token"], target["token_file"], target["own"], target["ca_file"]
        inputs = {"kind": self.inputs.kind, "rows": self.inputs.rows, "free_size": self.inputs.free_size}
        return {**found, "target": target, "pattern": self.pattern.described(), "inputs": inputs}

    def __str__(self) -> str:
        text = f"{self.target.model}: {self.pattern} for {self.duration_s:g} s"
        return text + (f" after {self.warm_up_s:g} s of warm-up" if self.warm_up_s else "")
