from __future__ import annotations

import pytest

from workbench.errors import Forbidden, QueueFull, Unauthenticated
from workbench.server.gate.auth import Caller, Gate
from workbench.server.gate.scopes import Scope
from workbench.server.process.bind_address import host_bytes, is_loopback

TOKEN = "a-token-of-the-tests-0123456789"
RIGHT = {b"authorization": f"Bearer {TOKEN}".encode(), b"host": b"127.0.0.1:8080"}


def gate(token: str | None = TOKEN, host: str = "127.0.0.1") -> Gate:
    return Gate(token, host, 10)


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_the_right_token_is_let_in(header: str) -> None:
    assert gate().admit(Scope.INFER, "POST", {**RIGHT, b"authorization": header.encode()}).name == "owner"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
def test_any_other_is_not(header: str) -> None:
    with pytest.raises(Unauthenticated, match="Authorization: Bearer TOKEN"):
        gate().admit(Scope.INFER, "POST", {**RIGHT, b"authorization": header.encode()})


def test_no_token_is_not_an_empty_token() -> None:
    with pytest.raises(Unauthenticated):
        gate().admit(Scope.INFER, "POST", {b"host": b"localhost"})
    assert gate(None).admit(Scope.INFER, "POST", {b"host": b"localhost"}).name == "owner"


def test_what_is_public_needs_no_token() -> None:
    for token in (TOKEN, None):
        assert gate(token).admit(Scope.PUBLIC, "GET", {}).name == "anyone"
        assert gate(token).admit_token(Scope.PUBLIC, None).name == ("anyone" if token else "owner")


def test_a_path_that_nobody_knows_needs_a_token() -> None:
    with pytest.raises(Unauthenticated):
        gate().admit(None, "GET", {b"host": b"localhost"})
    with pytest.raises(Unauthenticated):
        gate().admit_token(None, None)
    assert gate().admit(None, "GET", RIGHT).name == "owner"


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.PUBLIC])
def test_a_token_without_the_scope_is_forbidden(scope: Scope) -> None:
    one = gate()
    one._owner.scopes = frozenset({scope})
    for asked in Scope:
        if asked in (scope, Scope.PUBLIC):
            one.admit(asked, "GET", RIGHT)
            continue
        with pytest.raises(Forbidden, match=f"scope '{asked}'"):
            one.admit(asked, "GET", RIGHT)
        with pytest.raises(Forbidden, match=f"scope '{asked}'"):
            one.admit_token(asked, RIGHT[b"authorization"])


@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost:9000", b"LOCALHOST", b"[::1]:8080"])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_on_loopback_the_host_may_be_any_loopback_name(token: str | None, host: bytes) -> None:
    assert gate(token).admit(Scope.INFER, "POST", {**RIGHT, b"host": host})


@pytest.mark.parametrize(
    "host", [b"", b"evil.example", b"evil.example:8080", b"127.0.0.1.evil.example", b"localhost.evil.example:80"]
)
@pytest.mark.parametrize("token", [TOKEN, None])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_on_loopback_another_host_is_refused(method: str, token: str | None, host: bytes) -> None:
    with pytest.raises(Forbidden, match="Host"):
        gate(token).admit(Scope.INFER, method, {**RIGHT, b"host": host})


def test_off_loopback_any_host_goes_because_the_token_is_needed() -> None:
    assert gate(host="0.0.0.0").admit(Scope.INFER, "POST", {**RIGHT, b"host": b"models.example"})


@pytest.mark.parametrize(
    "origin", [b"http://evil.example", b"null", b"http://localhost:8888", b"http://127.0.0.1:80801"]
)
def test_a_foreign_origin_may_change_nothing(origin: bytes) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(Forbidden, match="Origin"):
            gate().admit(Scope.INFER, method, {**RIGHT, b"origin": origin})


def test_the_services_own_origin_may() -> None:
    assert gate().admit(Scope.INFER, "POST", {**RIGHT, b"origin": b"http://127.0.0.1:8080"})


def test_a_caller_has_a_cap_on_what_is_under_way() -> None:
    caller = Caller("owner", 2)
    caller.enter(0.0)
    caller.enter(0.0)
    with pytest.raises(QueueFull, match="max_in_flight"):
        caller.enter(0.0)
    caller.leave()
    caller.enter(0.0)


@pytest.mark.parametrize(
    ("host", "loopback", "written"),
    [
        ("127.0.0.1", True, b"127.0.0.1"),
        ("127.1.2.3", True, b"127.1.2.3"),
        ("localhost", True, b"localhost"),
        ("::1", True, b"[::1]"),
        ("[::1]", True, b"[::1]"),
        ("0.0.0.0", False, b"0.0.0.0"),
        ("::", False, b"[::]"),
        ("10.0.0.1", False, b"10.0.0.1"),
        ("models.example", False, b"models.example"),
    ],
)
def test_loopback_is_told_from_what_others_reach(host: str, loopback: bool, written: bytes) -> None:
    assert is_loopback(host) is loopback
    assert host_bytes(host) == written


def test_a_prepared_token_is_valid_beside_the_old_one_until_it_replaces_it() -> None:
    told: list[str] = []
    gate = Gate("the-old-token", "127.0.0.1", 3)
    gate.on_replaced.append(lambda: told.append("again"))
    before = gate.admit_token(Scope.READ, b"Bearer the-old-token")
    gate.prepare_token("the-new-token")
    after = gate.admit_token(Scope.READ, b"Bearer the-new-token")
    assert gate.admit_token(Scope.READ, b"Bearer the-old-token") is before
    assert (before.revoked, after.revoked, told) == (False, False, [])
    gate.replace_token()
    assert (before.revoked, after.revoked, told) == (True, False, ["again"])
    assert gate.admit_token(Scope.READ, b"Bearer the-new-token") is after
    with pytest.raises(Unauthenticated):
        gate.admit_token(Scope.READ, b"Bearer the-old-token")


def test_a_prepared_token_that_is_not_taken_is_valid_no_more() -> None:
    gate = Gate("the-old-token", "127.0.0.1", 3)
    gate.prepare_token("the-new-token")
    after = gate.admit_token(Scope.READ, b"Bearer the-new-token")
    gate.keep_token()
    assert after.revoked
    assert not gate.admit_token(Scope.READ, b"Bearer the-old-token").revoked
    with pytest.raises(Unauthenticated):
        gate.admit_token(Scope.READ, b"Bearer the-new-token")
