"""Settings: frozen and checked once. A model's come from its file and its calls, the service's from the environment
and from flags; the last one wins.

`ModelConfig` belongs to one model and is read from its `model.toml`; `ServerConfig` and its `Limits` belong to the
service. Every component is given its own small part, never the whole.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from workbench.errors import InvalidInput

ENVIRONMENT_PREFIX = "INFER_WORKBENCH_"

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,2})?")
_STATE_KEY = re.compile(r"[A-Za-z0-9_\-]{0,64}")

MIB = 1024 * 1024

_TOML_CHARACTERS = MIB


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How one model is served. Defaults suit most models; `live` ones change without a reload."""

    device: str = "auto"
    """"auto" (CUDA where it really runs, else the CPU), "cpu", "cuda" or "cuda:1". An explicit CUDA that does not
    run is an error, never a silent CPU."""
    max_batch_size: int = 64
    """The most rows in one batch, and the most that one request may bring. Live."""
    max_queue_delay_s: float = 0.0
    """Seconds that a batch may wait to grow while a runner is free. 0, the default, never waits. Live."""
    batch_sizes: tuple[int, ...] = ()
    """Where given, batches are padded to the next of these sizes, or to `max_batch_size`, and the padding is cut off
    their answers: for runtimes to which each new size is a new shape. Live."""
    preferred_batch_sizes: tuple[int, ...] = ()
    """Where given, batches have the largest of these sizes for which enough waits, and go at once with it; what is
    fewer waits for max_queue_delay_s, and then goes as it is. Empty: as many as were measured fastest. Live."""
    runners: str = "auto"
    """What runs the model on the CPU while `instances` and `intra_op_threads` are left as they are: "latency" (one
    runner with all cores), "throughput" (a runner a core) or "auto" (measured at warm-up)."""
    instances: int = 1
    """Runner threads, each running one batch at a time; 1 leaves it to `runners`. Live on the CPU."""
    device_share: float = 1.0
    """How much compute time this model gets against others, where several want the device at once. Live."""
    max_queue_size: int = 1024
    """Requests that may wait for a runner; one more is refused at once. Live."""
    queue_timeout_s: float = 0.0
    """Seconds that a request may wait for a runner, if its own timeout is not shorter; 0: no such limit. Live."""
    priority_levels: int = 3
    """A request's `priority` is 1, the highest, up to this; 0 or another one means `default_priority`. Live."""
    default_priority: int = 2
    """The level of a request that names none; the last one where there are fewer levels. Live."""
    priority_step_s: float = 0.1
    """A level is worth so many seconds of waiting: one of level 2 goes before any of level 1 that came this much
    later, so that nobody starves. Live."""
    batching: str = "auto"
    """"auto" (where a check at warm-up proves the rows independent), "always" (you vouch for it) or "never"."""
    intra_op_threads: int = 0
    """Threads inside one run; 0: the cores this process may use, shared out over the instances."""
    gpu_memory_limit_mib: int = 0
    """The most GPU memory for this model's arena; 0: half of what is free when it loads."""

    def __post_init__(self) -> None:
        _check(self, bool(_DEVICE.fullmatch(self.device)), "device", '"auto", "cpu", "cuda" or "cuda:N"')
        _check_range(self, "max_batch_size", 1, 65_536)
        _check_range(self, "max_queue_delay_s", 0.0, 10.0)
        # Settings that have been through JSON have lists.
        for name in ("batch_sizes", "preferred_batch_sizes"):
            sizes = tuple(getattr(self, name))
            object.__setattr__(self, name, sizes)
            fit = len(sizes) <= 64 and all(1 <= size <= 65_536 for size in sizes)
            _check(self, fit, name, "up to 64 sizes from 1 to 65536")
        _check(self, self.runners in ("auto", "latency", "throughput"), "runners", '"auto", "latency" or "throughput"')
        _check_range(self, "instances", 1, 256)
        _check_range(self, "device_share", 0.01, 100.0)
        _check_range(self, "max_queue_size", 1, 1_000_000)
        _check_range(self, "queue_timeout_s", 0.0, 86_400.0)
        _check_range(self, "priority_levels", 1, 16)
        _check_range(self, "default_priority", 1, 16)
        _check_range(self, "priority_step_s", 0.0, 60.0)
        _check(self, self.batching in ("auto", "always", "never"), "batching", '"auto", "always" or "never"')
        _check_range(self, "intra_op_threads", 0, 1024)
        _check_range(self, "gpu_memory_limit_mib", 0, 1_000_000)


LIVE_SETTINGS = (
    "max_batch_size",
    "max_queue_delay_s",
    "batch_sizes",
    "preferred_batch_sizes",
    "instances",
    "device_share",
    "max_queue_size",
    "queue_timeout_s",
    "priority_levels",
    "default_priority",
    "priority_step_s",
)
"""The settings of ModelConfig that a serving model takes without a reload."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what one client may send; each is answered with an error that names it."""

    max_body_bytes: int = 256 * MIB
    """Bytes of one request body."""
    max_upload_bytes: int = 8 * 1024 * MIB
    """Bytes of one uploaded model, which streams to disk."""
    max_json_depth: int = 64
    """Nesting of arrays and objects in a JSON body."""
    max_tensors: int = 256
    """Inputs, and outputs asked for, of one request."""
    max_elements: int = 1 << 28
    """Elements of one tensor."""
    max_string_bytes: int = 16 * MIB
    """Bytes of one element of a BYTES tensor."""
    max_name_length: int = 1024
    """Characters of a tensor's name or a request id."""
    max_response_bytes: int = 1024 * MIB
    """Bytes of the tensors in one response."""
    max_in_flight: int = 4096
    """Requests of one token that may be under way at once."""
    max_body_bytes_in_flight: int = 1024 * MIB
    """Bytes of all bodies that are held at once, from their arrival to their answer."""
    max_connections: int = 4096
    """HTTP connections that may be open at once."""
    head_timeout_s: float = 30.0
    """Seconds that the request line and headers of an HTTP request may take to arrive."""
    body_timeout_s: float = 30.0
    """Seconds without a byte of an HTTP request's body before the request is ended."""
    idle_timeout_s: float = 75.0
    """Seconds without a request before an HTTP connection is closed; longer than clients keep one, so that it is they
    who close it and no request meets a closed connection."""

    def __post_init__(self) -> None:
        for name in (f.name for f in dataclasses.fields(self)):
            _check_range(self, name, *((0.1, 1e9) if name.endswith("_s") else (1, 1 << 62)))


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The service: where it listens, what it serves, where it keeps things."""

    host: str = "127.0.0.1"
    http_port: int = 8080
    """0 picks a free one."""
    grpc_port: int | None = None
    """0 picks a free one; None: 8081, or a free one where that is taken."""
    grpc_tls_cert: Path | None = None
    """PEM file with the certificate (and its chain) that gRPC is served with; None: without TLS."""
    grpc_tls_key: Path | None = None
    """PEM file with its private key."""
    grpc_tls_client_ca: Path | None = None
    """PEM file with the authorities one of which must have signed a client's certificate; None: none is asked for."""
    model_repositories: tuple[Path, ...] = ()
    """Folders laid out NAME/VERSION/model.onnx; all their models load at the start."""
    load: tuple[tuple[str, Path], ...] = ()
    """(name, path) of single model files to load at the start."""
    data_dir: Path = Path("infer-workbench-data")
    """Where uploaded models, the log and the token file lie; made with mode 0700."""
    token_file: Path | None = None
    """The owner's token; None: one is written with mode 0600 into `data_dir`."""
    auth: bool = True
    """False serves without a token, which is refused off loopback."""
    ready_file: Path | None = None
    """Written once everything asked for is Ready: JSON with url, grpc, pid, version, token_file."""
    log_format: str = "text"
    """"text" or "json"."""
    log_requests: str = "trouble"
    """Which inferences get a line in the log: "trouble" (failed, expired or slow), "all" or "none"."""
    slow_request_s: float = 1.0
    """Seconds from which on an inference is slow."""
    drain_timeout_s: float = 30.0
    """Seconds that SIGTERM leaves to requests under way."""
    run_limit_s: float = 60.0
    """Seconds that one run of a model may take; then its callers are told and the service starts anew."""
    deaf_limit_s: float = 60.0
    """Seconds without a sign of life from the process that serves, before it is killed and started anew."""
    idle_end_s: float = 300.0
    """Seconds that the shared service stays after the last process that used it has gone."""
    state_key: str = ""
    """Names this machine's own list of what to serve, where several share `data_dir`."""
    trial: bool = True
    """A model never seen before is loaded in a process of its own first, so that one which crashes harms nothing."""
    trial_timeout_s: float = 120.0
    """Seconds that such a trial may take."""
    trial_memory_mib: int = 0
    """The most memory of such a trial; 0: as much as the machine has."""
    allow_shared_memory: bool = False
    """Clients of this machine may have tensors in system shared memory; on loopback only."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _check_range(self, "http_port", 0, 65_535)
        if self.grpc_port is not None:
            _check_range(self, "grpc_port", 0, 65_535)
        cert, key = self.grpc_tls_cert is not None, self.grpc_tls_key is not None
        _check(self, cert == key, "grpc_tls_key", "a file together with grpc_tls_cert, and only together with it")
        _check(
            self, cert or self.grpc_tls_client_ca is None, "grpc_tls_client_ca", "a file where grpc_tls_cert is given"
        )
        _check(self, self.log_format in ("text", "json"), "log_format", '"text" or "json"')
        _check(self, self.log_requests in ("trouble", "all", "none"), "log_requests", '"trouble", "all" or "none"')
        _check_range(self, "slow_request_s", 0.0, 1e9)
        _check_range(self, "drain_timeout_s", 0.0, 3600.0)
        for name in ("run_limit_s", "deaf_limit_s", "idle_end_s", "trial_timeout_s"):
            _check_range(self, name, 0.1, 1e9)
        key = bool(_STATE_KEY.fullmatch(self.state_key))
        _check(self, key, "state_key", "up to 64 letters, digits, '_' and '-'")
        _check_range(self, "trial_memory_mib", 0, 1 << 30)


Config = TypeVar("Config", ModelConfig, Limits)


def model_config(settings: Mapping[str, object], base: ModelConfig | None = None) -> ModelConfig:
    """`base` with `settings` laid over it; strings are read as the setting's own type.

    Raises InvalidInput for an unknown setting, one of the wrong type, or one out of range.
    """
    return _overlaid(base or ModelConfig(), settings)


def limits(settings: Mapping[str, object]) -> Limits:
    """The default caps with `settings` laid over them."""
    return _overlaid(Limits(), settings)


def read_model_toml(path: Path, base: ModelConfig | None = None) -> ModelConfig:
    """`base`, or the defaults, with the settings in a `model.toml` laid over it, where there is such a file."""
    try:
        if not path.is_file() and path.exists():
            raise InvalidInput("model.toml is no regular file")  # a pipe or a device may have no end
        with path.open(encoding="utf-8") as file:
            text = file.read(_TOML_CHARACTERS + 1)
        if len(text) > _TOML_CHARACTERS:
            raise InvalidInput(f"model.toml has more than {_TOML_CHARACTERS} characters")
    except FileNotFoundError:
        return base or ModelConfig()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"model.toml cannot be read: {type(error).__name__}") from error
    try:
        return model_config(tomllib.loads(text), base)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"model.toml is not TOML: {error}") from None


def limits_from_environment(environment: Mapping[str, str]) -> Limits:
    """The caps, each settable as INFER_WORKBENCH_MAX_BODY_BYTES and so on."""
    names = {f"{ENVIRONMENT_PREFIX}{f.name.upper()}": f.name for f in dataclasses.fields(Limits)}
    return limits({names[key]: value for key, value in environment.items() if key in names})


def _overlaid(base: Config, settings: Mapping[str, object]) -> Config:
    known = {f.name: f for f in dataclasses.fields(base)}
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in known:
            raise InvalidInput(f"there is no setting {name[:80]!r}; the settings are {', '.join(known)}")
        changes[name] = _as_type(name, value, type(getattr(base, name)))
    return dataclasses.replace(base, **changes)


def _as_type(name: str, value: object, kind: type) -> object:
    wrong = InvalidInput(f"{name} takes {_ARTICLE[kind]}; {str(value)[:80]!r} is none")
    if isinstance(value, bool):
        raise wrong
    if kind is tuple:
        return _as_sizes(value, wrong)
    if isinstance(value, str) and kind is not str:
        try:
            return kind(value)
        except ValueError:
            raise wrong from None
    if kind is float and isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            raise wrong from None
    if not isinstance(value, kind):
        raise wrong
    return value


def _as_sizes(value: object, wrong: InvalidInput) -> tuple[int, ...]:
    """Whole numbers from a list, or from a text with commas."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or any(isinstance(part, bool | float) for part in parts):
        raise wrong
    try:
        return tuple(sorted({int(part) for part in parts}))
    except (TypeError, ValueError):
        raise wrong from None


_ARTICLE = {int: "a whole number", float: "a number", str: "a text", tuple: "whole numbers, as 1, 8, 32"}


def _check_range(config: object, name: str, low: float, high: float) -> None:
    # NaN fails both comparisons, and so fails the check.
    _check(config, low <= getattr(config, name) <= high, name, f"{low} to {high}")


def _check(config: object, holds: bool, name: str, allowed: str) -> None:
    if not holds:
        raise InvalidInput(f"{name} is {getattr(config, name)!r}; it takes {allowed}")
