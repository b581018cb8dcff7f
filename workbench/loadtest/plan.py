"""What a load test is to do: frozen values, checked when they are made, and a JSON form that runs are kept with.

Plan
    target      which model, where
    attack      when requests come: an open loop's rate over time, or users who wait for their answers
    inputs      what they bring
    ...         warm-up, duration, connections, timeout
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias
from urllib.parse import urlsplit

from workbench.core.model import check_model_name
from workbench.errors import InvalidInput

MAX_RATE_PER_S = 1_000_000.0
MAX_DURATION_S = 24 * 3600.0
MAX_CONNECTIONS = 4096


@dataclass(frozen=True, slots=True)
class Constant:
    """Open loop: evenly spaced, or with `poisson` at random times, as independent users come."""

    kind: ClassVar[str] = "constant"

    rate_per_s: float
    poisson: bool = False

    def __post_init__(self) -> None:
        _check_rate("rate", self.rate_per_s)

    def __str__(self) -> str:
        return f"{self.rate_per_s:g} requests/s" + (", Poisson" if self.poisson else "")


@dataclass(frozen=True, slots=True)
class Ramp:
    """Open loop: the rate goes from one to the other evenly over the plan's duration."""

    kind: ClassVar[str] = "ramp"

    from_per_s: float
    to_per_s: float
    poisson: bool = False

    def __post_init__(self) -> None:
        _check_rate("the ramp's first rate", self.from_per_s)
        _check_rate("the ramp's last rate", self.to_per_s)

    def __str__(self) -> str:
        return f"a ramp from {self.from_per_s:g} to {self.to_per_s:g} requests/s" + (
            ", Poisson" if self.poisson else ""
        )


@dataclass(frozen=True, slots=True)
class Stairs:
    """Open loop: `first_per_s`, then `by_per_s` more every `every_s`; each stair is a phase of its own."""

    kind: ClassVar[str] = "stairs"

    first_per_s: float
    by_per_s: float
    every_s: float
    poisson: bool = False

    def __post_init__(self) -> None:
        _check_rate("the first stair", self.first_per_s)
        _check_rate("what each stair adds", self.by_per_s)
        _check_positive("the length of a stair", self.every_s, "seconds")

    def __str__(self) -> str:
        said = f"stairs of {self.by_per_s:g} requests/s every {self.every_s:g} s from {self.first_per_s:g}"
        return said + (", Poisson" if self.poisson else "")


@dataclass(frozen=True, slots=True)
class Replay:
    """Open loop: requests come when recorded ones came, `times_s` after the beginning, in order."""

    kind: ClassVar[str] = "replay"

    times_s: tuple[float, ...] = field(repr=False)
    speed: float = 1.0
    """2: twice as fast as it was."""

    def __post_init__(self) -> None:
        _check_positive("the speed of a replay", self.speed, "a factor")
        if not self.times_s:
            raise InvalidInput("a replay needs recorded arrival times; none were given")
        if not all(map(math.isfinite, self.times_s)) or self.times_s[0] < 0:
            raise InvalidInput("the recorded arrival times must be seconds from the beginning, 0 or more")
        if any(later < earlier for earlier, later in zip(self.times_s, self.times_s[1:], strict=False)):
            raise InvalidInput("the recorded arrival times must be in order")

    @property
    def duration_s(self) -> float:
        return self.times_s[-1] / self.speed

    def __str__(self) -> str:
        return f"{len(self.times_s)} recorded arrivals" + (f" at {self.speed:g} times the speed" * (self.speed != 1))


@dataclass(frozen=True, slots=True)
class Users:
    """Closed loop: each user sends, waits for the answer, thinks, and sends again. A slow server slows its own load
    down, so latencies say less than an open loop's; it shows the most that a server answers."""

    kind: ClassVar[str] = "users"

    count: int
    think_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_CONNECTIONS:
            raise InvalidInput(f"users is {self.count}; it takes 1 to {MAX_CONNECTIONS}")
        if not 0 <= self.think_s < math.inf:
            raise InvalidInput(f"the users' think time is {self.think_s:g} s; it takes 0 or more")

    def __str__(self) -> str:
        users = f"{self.count} user" + "s" * (self.count != 1)
        return users + (f", thinking {self.think_s:g} s" if self.think_s else "")


Attack: TypeAlias = Constant | Ramp | Stairs | Replay | Users
"""When requests come. All but Users are open loops."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a service of ours, or of any server of the Open Inference Protocol."""

    model: str
    url: str
    """http://HOST:PORT, or grpc://HOST:PORT."""
    version: str | None = None
    token: str | None = field(default=None, repr=False)
    controlled: bool = False
    """True for a service of ours whose control plane the token opens: its own figures are joined to the client's."""
    control_url: str = ""
    """Where that control plane is, where `url` is gRPC; empty: at `url`."""

    def __post_init__(self) -> None:
        check_model_name(self.model)
        parts = urlsplit(self.url)
        try:
            found = parts.scheme in ("http", "grpc") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            found = False
        if not found or parts.username is not None or parts.query:
            raise InvalidInput(
                "a load test's target looks like http://127.0.0.1:8080 or grpc://127.0.0.1:8081"
                + ("; TLS is not spoken here" * (parts.scheme in ("https", "grpcs")))
            )

    @property
    def grpc(self) -> bool:
        return self.url.startswith("grpc://")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What requests bring. Each is one of some made ready before the run, in turn."""

    kind: str = "random"
    """"random": made up from the signature. "rows": `values` sampled by row. "requests": `values` is a list, each
    item one request, in turn. """
    rows: int = 1
    """Rows a request, where the model's inputs have a free first axis; "requests" bring their own."""
    values: Any = field(default=None, repr=False, compare=False)
    """An array, a DataFrame, a dict of arrays, or a list of such; it is no part of what a run keeps."""
    free_size: int = 16
    """Made-up inputs only: the size of free axes beside the first."""

    def __post_init__(self) -> None:
        if self.kind not in ("random", "rows", "requests"):
            raise InvalidInput(f"the inputs of a load test are random, rows or requests, not {self.kind[:40]!r}")
        if self.rows < 1:
            raise InvalidInput(f"rows is {self.rows}; a request brings 1 at least")
        if self.free_size < 1:
            raise InvalidInput(f"the size of free axes is {self.free_size}; it takes 1 or more")
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
    attack: Attack
    inputs: Inputs = field(default_factory=Inputs)
    duration_s: float = 10.0
    """Of what is measured; the warm-up comes before it."""
    warm_up_s: float = 1.0
    """At the attack's first rate, kept out of all figures."""
    connections: int = 256
    """The most that an open loop opens; when all are busy, requests wait in the generator and their wait counts.
    Users have one each."""
    timeout_s: float = 10.0
    """After which a request is given up, from when it was sent."""
    seed: int = 0
    """Of random arrivals, and of which rows are sampled."""
    slo: str = ""
    """What must hold, as "p99<20ms,errors<0.1%"; empty: nothing was asked."""

    def __post_init__(self) -> None:
        _check_positive("duration", self.duration_s, "seconds", MAX_DURATION_S)
        if not 0 <= self.warm_up_s <= MAX_DURATION_S:
            raise InvalidInput(f"the warm-up is {self.warm_up_s:g} s; it takes 0 or more")
        if not 1 <= self.connections <= MAX_CONNECTIONS:
            raise InvalidInput(f"connections is {self.connections}; it takes 1 to {MAX_CONNECTIONS}")
        _check_positive("timeout", self.timeout_s, "seconds", MAX_DURATION_S)
        if self.slo:
            from workbench.loadtest.analysis.thresholds import parse_thresholds

            parse_thresholds(self.slo)

    @property
    def open_loop(self) -> bool:
        return not isinstance(self.attack, Users)

    def described(self) -> dict[str, Any]:
        """The plan as JSON, for a run to be kept and compared with; without the token and the inputs' values."""
        attack = {"kind": self.attack.kind, **dataclasses.asdict(self.attack)}
        if isinstance(self.attack, Replay):
            attack["times_s"] = len(self.attack.times_s)
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        target = dataclasses.asdict(self.target)
        del target["token"]
        inputs = {"kind": self.inputs.kind, "rows": self.inputs.rows, "free_size": self.inputs.free_size}
        return {**found, "target": target, "attack": attack, "inputs": inputs}

    def __str__(self) -> str:
        said = f"{self.target.model}: {self.attack} for {self.duration_s:g} s"
        return said + (f" after {self.warm_up_s:g} s of warm-up" if self.warm_up_s else "")


def _check_rate(what: str, rate_per_s: float) -> None:
    # NaN fails both comparisons, and so is refused.
    if not 0 < rate_per_s <= MAX_RATE_PER_S:
        raise InvalidInput(
            f"{what} is {rate_per_s:g} requests/s; it takes more than 0, and {MAX_RATE_PER_S:,.0f} at most"
        )


def _check_positive(what: str, value: float, unit: str, most: float = math.inf) -> None:
    if not 0 < value <= most or math.isinf(value):
        upper = "" if math.isinf(most) else f", and {most:g} at most"
        raise InvalidInput(f"{what} is {value:g}; it takes {unit}, more than 0{upper}")
