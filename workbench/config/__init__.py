"""Settings: frozen and checked once. A model's come from its file and its calls, the service's from the environment
and from flags; the last one wins.

`ModelConfig` belongs to one model and is read from its `model.toml`; `ServerConfig` and its `Limits` belong to the
service. Every component is given its own small part, never the whole.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar

from workbench.config.byte_size import OFF, SIZE_OR_OFF
from workbench.config.settings_schema import (
    ENVIRONMENT_PREFIX,
    Choices,
    Flag,
    Live,
    Range,
    TextPattern,
    as_kind,
    check,
    settings_of,
)
from workbench.errors import InvalidInput

__all__ = [
    "DEFAULT_HTTP_PORT",
    "ENVIRONMENT_PREFIX",
    "LIVE_SETTINGS",
    "MAX_MODEL_TENSORS",
    "MIB",
    "Limits",
    "ModelConfig",
    "ServerConfig",
    "limits",
    "limits_from_environment",
    "model_config",
    "read_model_toml",
    "settings_of",
]

DEFAULT_HTTP_PORT = 8080

MIB = 1024 * 1024

MAX_MODEL_TENSORS = 1 << 12
"""The most inputs, and outputs asked for, of one request to a model that has so many: the most that max_tensors follows
a model to by itself. A request of so many small tensors was measured to take 20 to 45 ms to read."""

_TOML_CHARACTERS = 64 * 1024
_TOML_DOTS = 100
"""In one line: Python's reader takes memory by the square of a dotted key's parts."""
_PORT = Range(0, 65_535)
_SECONDS = Range(0.1, 1e9)
_CAP = Range(1, 1 << 62)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """How one model is served. Defaults suit most models; `live` ones change without a reload."""

    device: Annotated[str, TextPattern(r"auto|cpu|cuda(:[0-9]{1,2})?", '"auto", "cpu", "cuda" or "cuda:N"')] = "auto"
    """"auto" (CUDA where it really runs, else the CPU), "cpu", "cuda" or "cuda:1". An explicit CUDA that does not
    run is an error, never a silent CPU."""
    max_batch_size: Annotated[int, Range(1, 65_536), Live] = 64
    """The most rows in one batch, and the most that one request may bring."""
    max_queue_delay_s: Annotated[float, Range(0.0, 10.0), Live] = 0.0
    """Seconds that a batch may wait to grow while a runner is free. 0, the default, never waits."""
    batch_sizes: Annotated[tuple[int, ...], Range(1, 65_536), Live] = ()
    """Where given, batches are padded to the next of these sizes, or to `max_batch_size`, and the padding is cut off
    their answers: for runtimes to which each new size is a new shape."""
    preferred_batch_sizes: Annotated[tuple[int, ...], Range(1, 65_536), Live] = ()
    """Where given, batches have the largest of these sizes for which enough waits, and go at once with it; what is
    fewer waits for max_queue_delay_s, and then goes as it is. Empty: as many as were measured fastest."""
    runners: Annotated[str, Choices(("auto", "latency", "throughput"))] = "auto"
    """What runs the model on the CPU while `instances` and `intra_op_threads` are left as they are: "latency" (one
    runner with all cores), "throughput" (a runner a core) or "auto" (measured at warm-up)."""
    instances: Annotated[int, Range(1, 256), Live] = 1
    """Runner threads, each running one batch at a time; 1 leaves it to `runners`. Live on the CPU."""
    device_share: Annotated[float, Range(0.01, 100.0), Live] = 1.0
    """How much compute time this model gets against others, where several want the device at once."""
    max_queue_size: Annotated[int, Range(1, 1_000_000), Live] = 1024
    """Requests that may wait for a runner; one more is refused at once."""
    queue_timeout_s: Annotated[float, Range(0.0, 86_400.0), Live] = 0.0
    """Seconds that a request may wait for a runner, if its own timeout is not shorter; 0: no such limit."""
    priority_levels: Annotated[int, Range(1, 16), Live] = 3
    """A request's `priority` is 1, the highest, up to this; 0 or another one means `default_priority`."""
    default_priority: Annotated[int, Range(1, 16), Live] = 2
    """The level of a request that names none; the last one where there are fewer levels."""
    priority_step_s: Annotated[float, Range(0.0, 60.0), Live] = 0.1
    """A level is worth so many seconds of waiting: one of level 2 goes before any of level 1 that came this much
    later, so that nobody starves."""
    breaker_failure_rate: Annotated[float, Range(0.0, 1.0), Live] = 0.5
    """The part of the latest calls that may fail or be slow before the circuit breaker opens; 0: it has none."""
    breaker_min_calls: Annotated[int, Range(1, 1_000_000), Live] = 20
    """So many calls have to have ended in the window, before the breaker opens."""
    breaker_window_s: Annotated[float, Range(0.1, 3600.0), Live] = 30.0
    """Seconds that the breaker looks back."""
    breaker_slow_call_s: Annotated[float, Range(0.0, 86_400.0), Live] = 0.0
    """Seconds inside the runtime from which on a call counts as slow; 0: none does."""
    breaker_open_s: Annotated[float, Range(0.1, 3600.0), Live] = 5.0
    """Seconds that an open breaker refuses calls, before it lets a few through to see how they end."""
    versions: Annotated[
        str,
        TextPattern(
            r"latest(:[1-9][0-9]{0,3})?|all|specific:[1-9][0-9]{0,8}(,[1-9][0-9]{0,8}){0,99}",
            '"latest:N", "all" or "specific:1,3"',
        ),
        Live,
    ] = "latest:1"
    """Which versions stay loaded when another one is routed to: the latest N, all, or specific ones."""
    fallback: Annotated[str, Choices(("none", "previous")), Live] = "none"
    """What answers calls without a version that an open breaker refuses: "none", or "previous", the version before,
    which then stays loaded when this one takes over."""
    batching: Annotated[str, Choices(("auto", "proved", "always", "never"))] = "auto"
    """"auto" (where its graph proves that rows do not influence each other, or a trial at warm-up did not see it
    where the graph does not tell), "proved" (by its graph only), "always" (you vouch for it) or "never"."""
    cache: Annotated[str, TextPattern(SIZE_OR_OFF, '"off" or a size such as 64MB or 1GiB'), Live] = OFF
    """Memory for answers that are kept and given to equal requests without a run: a size such as "64MB", or "off"."""
    cache_ttl: Annotated[float, Range(0.0, 1e9), Live] = 60.0
    """Seconds that an answer is kept for at most; 0: until others need its room."""
    cache_scope: Annotated[str, Choices(("share", "shared")), Live] = "share"
    """Who is given a kept answer: "share", callers of the same share as the one it was run for (the owner has its own
    answers), or "shared", all who may call the model; how soon an answer comes then tells what others asked before."""
    intra_op_threads: Annotated[int, Range(0, 1024)] = 0
    """Threads inside one run; 0: the cores this process may use, shared out over the instances."""
    max_state_mib: Annotated[int, Range(1, 1_000_000), Live] = 1024
    """Memory for the states of all sequences, of a model that keeps state between requests; a step that would need more
    is refused."""
    call_timeout_s: Annotated[float, Range(0.01, 86_400.0)] = 30.0
    """Seconds that one call of a Python function may take; then its process is ended and another one started."""
    worker_memory_mib: Annotated[int, Range(0, 1_048_576)] = 0
    """The most memory of each process of a Python function; 0: half of the machine's."""
    worker_output_mib: Annotated[int, Range(1, 1_048_576)] = 256
    """The most that one answer of a Python function may have."""
    gpu_memory_limit_mib: Annotated[int, Range(0, 1_000_000)] = 0
    """The most GPU memory for this model's arena; 0: half of what is free when it loads."""

    def __post_init__(self) -> None:
        # Settings that have been through JSON have lists.
        for name in ("batch_sizes", "preferred_batch_sizes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check(self)


LIVE_SETTINGS = tuple(name for name, setting in settings_of(ModelConfig).items() if setting.live)
"""The settings of ModelConfig that a serving model takes without a reload."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what one client may send; each is answered with an error that names it."""

    max_body_bytes: Annotated[int, _CAP] = 256 * MIB
    """Bytes of one request body."""
    max_upload_bytes: Annotated[int, _CAP] = 8 * 1024 * MIB
    """Bytes of one uploaded model, which streams to disk."""
    max_json_depth: Annotated[int, _CAP] = 64
    """Nesting of arrays and objects in a JSON body."""
    max_tensors: Annotated[int, _CAP] = 256
    """Inputs, and outputs asked for, of one request; of a model that has more, as many as it has."""
    max_elements: Annotated[int, _CAP] = 1 << 28
    """Elements of one tensor."""
    max_string_bytes: Annotated[int, _CAP] = 16 * MIB
    """Bytes of one element of a BYTES tensor."""
    max_name_length: Annotated[int, _CAP] = 1024
    """Characters of a tensor's name or a request id."""
    max_response_bytes: Annotated[int, _CAP] = 1024 * MIB
    """Bytes of the tensors in one response."""
    max_in_flight: Annotated[int, _CAP] = 4096
    """Requests of one token that may be under way at once."""
    max_body_bytes_in_flight: Annotated[int, _CAP] = 1024 * MIB
    """Bytes of all bodies that are held at once, from their arrival to their answer, and of answers not read yet."""
    max_connections: Annotated[int, _CAP] = 4096
    """HTTP and gRPC connections that may be open at once. For one more, one is closed whose caller has shown no token;
    fewer where the process may not open so many files."""
    max_connections_per_address: Annotated[int, _CAP] = 2048
    """Of these, the connections of one address whose callers have shown no token; of IPv6, of 64 bits of it."""
    head_timeout_s: Annotated[float, _SECONDS] = 30.0
    """Seconds that the request line and headers of an HTTP request may take to arrive."""
    body_timeout_s: Annotated[float, _SECONDS] = 30.0
    """Seconds without a byte of an HTTP request's body before the request is ended; also what it may take in all, and
    a second more for each 256 bytes."""
    idle_timeout_s: Annotated[float, _SECONDS] = 75.0
    """Seconds without a request before an HTTP connection is closed; longer than clients keep one, so that it is they
    who close it and no request meets a closed connection."""

    def __post_init__(self) -> None:
        check(self)


OWNER_ADDRESSES = "127.0.0.0/8 ::1"
"""Loopback."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The service: where it listens, what it serves, where it keeps things."""

    host: Annotated[str, Flag("--host", "HOST", "where to listen (127.0.0.1)")] = "127.0.0.1"
    http_port: Annotated[int, _PORT, Flag("--http-port", "PORT", "0 picks a free one (8080)")] = DEFAULT_HTTP_PORT
    """0 picks a free one."""
    grpc_port: Annotated[int | None, _PORT, Flag("--grpc-port", "PORT", "0 picks a free one (8081)")] = None
    """0 picks a free one; None: 8081, or a free one where that is taken."""
    tls_cert: Annotated[
        Path | None, Flag("--tls-cert", "FILE", "PEM: serve HTTP and gRPC with TLS, with this certificate")
    ] = None
    """PEM file with the certificate (and its chain) that HTTP and gRPC are served with; None: without TLS."""
    tls_key: Annotated[Path | None, Flag("--tls-key", "FILE", "PEM: the certificate's private key")] = None
    """PEM file with its private key."""
    tls: Annotated[
        str,
        Choices(("off", "self-signed")),
        Flag("--tls", "", "self-signed: serve with TLS, with a certificate that it makes itself (off)"),
    ] = "off"
    """"self-signed": HTTP and gRPC are served with a certificate that the service makes and renews in `data_dir`."""
    insecure: Annotated[
        bool, Flag("--insecure", "", "serve other machines without TLS, where something else encrypts")
    ] = False
    """Off loopback HTTP is served without TLS too; tokens and rows can be read on the way."""
    owner_remote: Annotated[
        bool, Flag("--owner-remote", "", "take the owner's token from other machines too, but for the control plane")
    ] = False
    """The owner's token is taken on connections from other machines, for all but the control plane."""
    owner_addresses: str = OWNER_ADDRESSES
    """Networks of this machine's own addresses: a caller who reached one of them counts as on this machine."""
    grpc_tls_cert: Annotated[
        Path | None, Flag("--grpc-tls-cert", "FILE", "PEM: serve gRPC with TLS, with a certificate of its own")
    ] = None
    """PEM file with the certificate (and its chain) that gRPC is served with; None: that of `tls_cert`."""
    grpc_tls_key: Annotated[Path | None, Flag("--grpc-tls-key", "FILE", "PEM: the certificate's private key")] = None
    """PEM file with its private key."""
    grpc_tls_client_ca: Annotated[
        Path | None, Flag("--grpc-tls-client-ca", "FILE", "PEM: who must have signed a client's certificate")
    ] = None
    """PEM file with the authorities one of which must have signed a client's certificate; None: none is asked for."""
    model_repositories: Annotated[
        tuple[Path, ...],
        Flag(
            "--model-repository",
            "DIR",
            "a folder laid out NAME/VERSION/model.onnx; all its models load at the start; may be repeated",
        ),
    ] = ()
    """Folders laid out NAME/VERSION/model.onnx; all their models load at the start."""
    repository_mode: Annotated[
        str,
        Choices(("none", "poll", "explicit")),
        Flag(
            "--repository-mode",
            "",
            "poll: follow changes of the model repositories; explicit: load what is asked for (none)",
        ),
    ] = "none"
    """"none": all models of the repositories load at the start; "poll": and what changes there is followed; "explicit":
    those load that are asked for by their names, and come back after a restart."""
    repository_poll_s: Annotated[
        float, _SECONDS, Flag("--repository-poll-secs", "SECONDS", "how often poll looks where no event tells it (15)")
    ] = 15.0
    """Seconds between two looks at the model repositories where the file system tells of no change."""
    repository_in_place: Annotated[
        bool, Flag("--repository-in-place", "", "open the files of model repositories where they lie, without a copy")
    ] = False
    """Models of `model_repositories` are opened where they lie. For folders that nobody writes to while they serve."""
    load: Annotated[
        tuple[tuple[str, Path], ...], Flag("--load", "NAME=PATH", "load a model file at the start; may be repeated")
    ] = ()
    """(name, path) of single model files to load at the start."""
    data_dir: Annotated[Path, Flag("--data-dir", "DIR", "for uploaded models, log and token")] = field(kw_only=True)
    """Where uploaded models, the log and the token file lie; made with mode 0700. `server_config` names a folder in
    Jupyter's data folder where none was given."""
    token_file: Annotated[
        Path | None, Flag("--token-file", "FILE", "holds the token that callers must send", excludes="access")
    ] = None
    """The owner's token; None: one is written with mode 0600 into `data_dir`."""
    auth: Annotated[bool, Flag("--no-auth", "", "serve without a token; on loopback only", excludes="access")] = True
    """False serves without a token, which is refused off loopback."""
    ready_file: Annotated[
        Path | None, Flag("--ready-file", "FILE", "JSON with url, grpc and token_file, written once all is ready")
    ] = None
    """Written once everything asked for is Ready: JSON with url, grpc, pid, version, token_file."""
    exit_on_error: Annotated[
        bool,
        Flag("--exit-on-error", "BOOL", "end with status 2 if a model of the flags fails at the start (true)"),
    ] = True
    """A `serve` ends with status 2 where a model of `model_repositories` or `load` fails at the start."""
    strict_readiness: Annotated[
        bool, Flag("--strict-readiness", "BOOL", "not ready while a model failed that was to be served (true)")
    ] = True
    """The service is not ready while a model that it was to serve at its start is Failed."""
    cache_redis: str = ""
    """URL of a Redis or Valkey where result caches of several services keep their answers; empty: each has its own."""
    cache_secret_file: Path | None = None
    """A secret that these services have in common, in a file that others cannot read."""
    log_format: Annotated[
        str, Choices(("text", "json")), Flag("--log-format", "", "of the lines on stderr and in the log file (text)")
    ] = "text"
    """"text" or "json"."""
    log_requests: Annotated[str, Choices(("trouble", "all", "none"))] = "trouble"
    """Which inferences get a line in the log: "trouble" (failed, expired or slow), "all" or "none"."""
    slow_request_s: Annotated[float, Range(0.0, 1e9)] = 1.0
    """Seconds from which on an inference is slow."""
    drain_timeout_s: Annotated[float, Range(0.0, 3600.0)] = 30.0
    """Seconds that SIGTERM leaves to requests under way."""
    run_limit_s: Annotated[float, _SECONDS] = 60.0
    """Seconds that one run of a model may take; then its callers are told, and it is ended. Where it cannot be ended,
    the service starts anew."""
    deaf_limit_s: Annotated[float, _SECONDS] = 60.0
    """Seconds without a sign of life from the process that serves, before it is killed and started anew."""
    idle_end_s: Annotated[float, _SECONDS] = 300.0
    """Seconds that the shared service stays after the last process that used it has gone."""
    state_key: Annotated[str, TextPattern(r"[A-Za-z0-9_\-]{0,64}", "up to 64 letters, digits, '_' and '-'")] = ""
    """Names this machine's own list of what to serve, where several share `data_dir`."""
    trial: bool = True
    """A model never seen before is loaded in a process of its own first, so that one which crashes harms nothing."""
    trial_timeout_s: Annotated[float, _SECONDS] = 120.0
    """Seconds that such a trial may take."""
    trial_memory_mib: Annotated[int, Range(0, 1 << 30)] = 0
    """The most memory of such a trial; 0: as much as the machine has."""
    python_functions: Annotated[
        str,
        Choices(("auto", "on", "off")),
        Flag(
            "--python-functions",
            "",
            "run Python functions that are loaded; auto: on loopback only; on: of repositories too (auto)",
        ),
    ] = "auto"
    """Whether Python functions are run, which who loads them writes: "auto" (where only this machine reaches the
    service), "on" (also those of model repositories) or "off". Never without a token."""
    max_store_bytes: Annotated[int, Range(0, 1 << 60)] = 0
    """Bytes of all models in `data_dir`, old versions included; 0: as many as the disk has room for, of which some is
    kept free in any case."""
    memory_release_s: Annotated[float, Range(0.0, 1e9)] = 10.0
    """Seconds of calm after which memory that was used by requests is given back to the system; 0: never."""
    allow_shared_memory: Annotated[
        bool, Flag("--allow-shared-memory", "", "for clients' tensors; on loopback only")
    ] = False
    """Clients of this machine may have tensors in system shared memory; on loopback only."""
    server_id: Annotated[
        str,
        TextPattern(r"[A-Za-z0-9_. \-]{1,128}", "1 to 128 letters, digits, spaces, '_', '.' and '-'"),
        Flag("--id", "NAME", "what it calls itself to clients (infer-workbench)"),
    ] = "infer-workbench"
    """The name in the server's metadata; some of Triton's clients look for "triton"."""
    strict_json: Annotated[bool, Flag("--strict-json", "", "NaN and infinities as strings in JSON")] = False
    """NaN and infinities in JSON are strings in answers, and refused as bare words in requests."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check(self)
        for name in ("tls", "grpc_tls"):
            if (getattr(self, f"{name}_cert") is None) != (getattr(self, f"{name}_key") is None):
                raise InvalidInput(f"{name}_cert and {name}_key must be given together")
        if self.grpc_tls_client_ca is not None and self.grpc_certificate is None:
            raise InvalidInput("grpc_tls_client_ca needs grpc_tls_cert or tls_cert")
        if self.cache_secret_file is not None and not self.cache_redis:
            raise InvalidInput("cache_secret_file is for cache_redis, which is not given")
        if self.cache_redis and self.cache_secret_file is None:
            raise InvalidInput(
                "cache_redis needs cache_secret_file: a file, closed to others (chmod 600), with a secret that all "
                "services have which share the answers"
            )
        _ = self.owner_networks  # checked once, here

    @property
    def owner_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`owner_addresses`, read. Raises InvalidInput."""
        try:
            return tuple(ip_network(each, strict=False) for each in self.owner_addresses.replace(",", " ").split())
        except ValueError as error:
            raise InvalidInput(
                f"owner_addresses must be networks such as {OWNER_ADDRESSES!r}, got {self.owner_addresses[:80]!r}: "
                f"{error}"
            ) from None

    @property
    def grpc_certificate(self) -> tuple[Path, Path] | None:
        """The files of the certificate that gRPC is served with, and of its key; None: without TLS."""
        if self.grpc_tls_cert is not None and self.grpc_tls_key is not None:
            return self.grpc_tls_cert, self.grpc_tls_key
        return None if self.tls_cert is None or self.tls_key is None else (self.tls_cert, self.tls_key)


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
    if any(line.count(".") > _TOML_DOTS for line in text.splitlines()):
        raise InvalidInput(f"model.toml has a line with more than {_TOML_DOTS} dots")
    try:
        return model_config(tomllib.loads(text), base)
    except RecursionError:
        raise InvalidInput("model.toml has values that are nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"model.toml is not TOML: {error}") from None


def limits_from_environment(environment: Mapping[str, str]) -> Limits:
    """The caps, each settable as INFER_WORKBENCH_MAX_BODY_BYTES and so on."""
    names = {setting.variable: name for name, setting in settings_of(Limits).items()}
    return limits({names[key]: value for key, value in environment.items() if key in names})


def _overlaid(base: Config, settings: Mapping[str, object]) -> Config:
    known = settings_of(type(base))
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in known:
            raise InvalidInput(f"there is no setting {name[:80]!r}; the settings are {', '.join(known)}")
        changes[name] = as_kind(name, value, known[name].kind)
    return dataclasses.replace(base, **changes)
