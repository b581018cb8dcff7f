"""What callers from other machines meet: the one gate, and behind it what they may not do whatever they show.

The control plane stays on the service's own machine. The owner's token opens all models, so it is not taken from the
network either, unless the owner says so.
"""

from __future__ import annotations

from workbench.errors import Forbidden
from workbench.server.gate.auth import Caller, Gate, Headers
from workbench.server.gate.scopes import Scope


class RemoteGate:
    """In place of a `Gate`, for connections from elsewhere. What it says is kept apart from what the gate says: a head
    or a header block that is remembered carries its caller past both."""

    def __init__(self, gate: Gate, owner_remote: bool, *, any_host: bool = False) -> None:
        self._gate = gate
        self._any_host = any_host
        self._owner_remote = owner_remote

    def admit(self, scope: Scope | None, method: str, headers: Headers) -> Caller:
        """As `Gate.admit`."""
        return self._allowed(self._gate.admit(scope, method, headers, any_host=self._any_host), scope)

    def admit_token(self, scope: Scope | None, authorization: bytes | None) -> Caller:
        """As `Gate.admit_token`."""
        return self._allowed(self._gate.admit_token(scope, authorization), scope)

    def known(self, authorization: bytes | None) -> Caller | None:
        """As `Gate.known`."""
        return self._gate.known(authorization)

    def _allowed(self, caller: Caller, scope: Scope | None) -> Caller:
        if Scope.ADMIN in caller.scopes and not self._owner_remote:
            raise Forbidden(
                "this call came from another machine, and the owner's token is taken on the service's own only; the "
                "owner allows it with --owner-remote"
            )
        if scope is Scope.ADMIN:
            raise Forbidden(
                "this call came from another machine, and the control plane is for callers on the service's own only"
            )
        return caller
