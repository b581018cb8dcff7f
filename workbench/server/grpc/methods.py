"""The table of gRPC's methods, and the gate in front of it.

A call is let in, or refused, by its head alone: what a refused caller sends is never read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from workbench.errors import InvalidInput, Unsupported, WorkbenchError
from workbench.http2.headers import H2RequestHead as HttpHead
from workbench.protocols.routing_headers import routing_parameters
from workbench.protocols.status_codes import UNFORESEEN
from workbench.protocols.trace_headers import REQUEST_ID, TRACEPARENT, request_id, traceparent
from workbench.server.gate.auth import Caller, Gate
from workbench.server.gate.in_flight import ANONYMOUS_WHOLE_S
from workbench.server.gate.remote_gate import RemoteGate
from workbench.server.gate.request_ids import HasRequestId
from workbench.server.gate.scopes import CONTROL_SCOPES, Scope
from workbench.server.grpc import framing


@dataclass(frozen=True, slots=True)
class CallHead:
    """What is known of a call before its message is read."""

    caller: Caller
    request_id: bytes = b""
    """What the caller calls it, checked; empty: nothing."""
    trace: str = ""
    """The caller's traceparent, checked; empty: none came."""
    agent: str = ""
    """What the caller says that it is."""
    timeout_s: float | None = None
    """From its head on; None: it has no deadline."""
    routing: Mapping[str, str] = field(default_factory=dict)
    """The parameters of routing that its metadata give."""


class Context(Protocol):
    """The call as its method sees it."""

    @property
    def address(self) -> str:
        """The caller's."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds to its deadline; None: it has none."""
        ...

    def tell(self, name: bytes, value: bytes) -> None:
        """Something for the trailing metadata, however the call ends."""
        ...


class UnaryResponder(Context, Protocol):
    """A call that waits for its one answer."""

    on_lost: Callable[[], None] | None
    """Called when nobody is there any more to read the answer."""

    def send_result(self, call: HasRequestId, message: bytes, /) -> int:
        """Answer an inference; returns the message's size."""
        ...

    def send_error(self, call: HasRequestId, error: Exception, /) -> None: ...


Unary: TypeAlias = Callable[[CallHead, bytes, Context], Awaitable[bytes]]
Watch: TypeAlias = Callable[[CallHead, bytes, Context], AsyncGenerator[bytes, None]]
Stream: TypeAlias = Callable[[CallHead, AsyncIterator[bytes], Context], AsyncGenerator[bytes, None]]
Begin: TypeAlias = Callable[[CallHead, bytes, UnaryResponder], None]


@dataclass(frozen=True, slots=True)
class Method:
    """What serves one method. Messages are bytes both ways; the codec that reads one says what is wrong with it."""

    unary: Unary | None = None
    watch: Watch | None = None
    """One message in, a stream out."""
    stream: Stream | None = None
    """Streams both ways."""
    begin: Begin | None = None
    """In place of `unary`, without a task: answers now or later. Raises nothing."""
    scope: Scope = Scope.ADMIN
    """What its caller must be allowed to do."""
    action: str = ""
    """What the audit calls it; empty: it changes nothing."""
    large: bool = False
    """Its messages hold tensors or files. Those of others are small, so that it does not matter what parsing them
    costs."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused call of the control plane."""

    action: str
    code: str
    who: str
    agent: str


@dataclass(frozen=True, slots=True)
class CallSpec:
    """What a call's head says. The same head, byte for byte, says the same again."""

    head: CallHead | None
    method: Method
    most: int = 0
    """Bytes that a message of it may have."""
    coding: bytes = b""
    """Of its compressed messages."""
    limit_s: float | None = None
    """How long it may take, its deadline included; None: as long as it likes."""
    refusal: bytes = b""
    """Where `head` is None: the block that is all of its answer. Made once, since who is refused costs as little to ask
    again as it can cost to answer."""
    refused: Refused | None = None
    """What the audit is to say of it then."""


MAX_UNAUTHENTICATED_MESSAGE_BYTES: Final = 4096
"""Bytes of a message to a method that needs no token, so that strangers cannot use up the budget of the others."""


SMALL_BYTES: Final = 64 * 1024
"""Bytes of a message that holds neither tensors nor files."""


class Methods:
    """`table`: full name ("/package.Service/Method") -> Method. `max_message_bytes`: of those that hold
    tensors or files."""

    def __init__(self, gate: Gate | RemoteGate, table: Mapping[str, Method], max_message_bytes: int) -> None:
        self.table = table
        """All methods by name, for callers that walk them."""
        self._admit, self._known = gate.admit_token, gate.known
        self._most = max_message_bytes
        self._by_path = {name.encode(): method for name, method in table.items()}

    def asked(self, http: HttpHead) -> CallSpec:
        """Raises nothing."""
        request = http.request
        if not framing.speaks_grpc(request.get(b"content-type", b"")):
            return CallSpec(None, _NONE, refusal=framing.not_grpc(415))
        if request[b":method"] != b"POST":
            return CallSpec(None, _NONE, refusal=framing.not_grpc(405))
        path = request[b":path"]
        method = self._by_path.get(path)
        try:
            caller = self._admit(None if method is None else method.scope, request.get(b"authorization"))
            if method is None:
                name = path[:120].decode("utf-8", "replace")
                raise Unsupported(f"there is no method {name!r}; reflection lists those that there are")
            timeout = request.get(b"grpc-timeout")
            head = CallHead(
                caller,
                request_id(request.get(REQUEST_ID, b"")) or b"",
                traceparent(request.get(TRACEPARENT, b"")),
                request.get(b"user-agent", b"").decode("utf-8", "replace"),
                None if timeout is None else framing.timeout_s(timeout),
                routing_parameters(request) if method.scope is Scope.INFER else {},
            )
            most = self._most
            if not method.large:
                most = min(most, MAX_UNAUTHENTICATED_MESSAGE_BYTES if method.scope is Scope.PUBLIC else SMALL_BYTES)
            elif caller.max_body is not None:
                most = min(most, caller.max_body)
            limit_s = head.timeout_s
            if caller.anonymous and (limit_s is None or limit_s > ANONYMOUS_WHOLE_S):
                limit_s = ANONYMOUS_WHOLE_S
            return CallSpec(head, method, most, framing.coding(request.get(b"grpc-encoding", b"")), limit_s)
        except WorkbenchError as error:
            refused = None
            if method is not None and method.scope in CONTROL_SCOPES:
                known = self._known(request.get(b"authorization"))
                agent = request.get(b"user-agent", b"").decode("utf-8", "replace")
                name = method.action or path.rpartition(b"/")[2].decode()
                refused = Refused(name, error.code, "anyone" if known is None else known.name, agent)
            return CallSpec(None, _NONE, refusal=framing.failure(error, (), head=True), refused=refused)


_NONE = Method()


def unforeseen() -> WorkbenchError:
    return WorkbenchError(UNFORESEEN)


def one_message(found: int) -> InvalidInput:
    """For a call that takes exactly one."""
    return InvalidInput(f"this method takes one message, and {'none' if not found else 'more than one'} came")
