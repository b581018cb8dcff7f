from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import Forbidden, QueueFull, Unauthenticated
from workbench.server.gate.auth import Caller, Gate
from workbench.server.process.bind_address import host_bytes, is_loopback

TOKEN = "a-token-of-the-tests-0123456789"
RIGHT = {b"authorization": f"Bearer {TOKEN}".encode(), b"host": b"127.0.0.1:8080"}


def call(method: str = "POST", path: str = "/v2/models/m/infer") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path}


def gate(token: str | None = TOKEN, host: str = "127.0.0.1") -> Gate:
    return Gate(token, host, 10)


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_the_right_token_is_let_in(header: str) -> None:
    assert gate().admit(call(), {**RIGHT, b"authorization": header.encode()}).name == "owner"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
def test_any_other_is_not(header: str) -> None:
    with pytest.raises(Unauthenticated, match="Authorization: Bearer TOKEN"):
        gate().admit(call(), {**RIGHT, b"authorization": header.encode()})


def test_no_token_is_not_an_empty_token() -> None:
    with pytest.raises(Unauthenticated):
        gate().admit(call(), {b"host": b"localhost"})
    assert gate(None).admit(call(), {b"host": b"localhost"}).name == "owner"


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_is_public_for_reading_only(path: str) -> None:
    for method in ("GET", "HEAD"):
        assert gate().admit(call(method, path), {}).name == "anyone"
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        with pytest.raises(Unauthenticated):
            gate().admit(call(method, path), {})


@pytest.mark.parametrize("path", ["/v2/health/live/", "/v2/health/live2", "//v2/health/live", "/V2/HEALTH/LIVE"])
def test_what_only_looks_like_health_is_not_public(path: str) -> None:
    with pytest.raises(Unauthenticated):
        gate().admit(call("GET", path), {})


@pytest.mark.parametrize("host", [b"127.0.0.1", b"localhost:9000", b"LOCALHOST", b"[::1]:8080"])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_on_loopback_the_host_may_be_any_loopback_name(token: str | None, host: bytes) -> None:
    assert gate(token).admit(call(), {**RIGHT, b"host": host})


@pytest.mark.parametrize(
    "host", [b"", b"evil.example", b"evil.example:8080", b"127.0.0.1.evil.example", b"localhost.evil.example:80"]
)
@pytest.mark.parametrize("token", [TOKEN, None])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_on_loopback_another_host_is_refused(method: str, token: str | None, host: bytes) -> None:
    with pytest.raises(Forbidden, match="Host"):
        gate(token).admit(call(method), {**RIGHT, b"host": host})


def test_off_loopback_any_host_goes_because_the_token_is_needed() -> None:
    assert gate(host="0.0.0.0").admit(call(), {**RIGHT, b"host": b"models.example"})


@pytest.mark.parametrize(
    "origin", [b"http://evil.example", b"null", b"http://localhost:8888", b"http://127.0.0.1:80801"]
)
def test_a_foreign_origin_may_change_nothing(origin: bytes) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(Forbidden, match="Origin"):
            gate().admit(call(method), {**RIGHT, b"origin": origin})
    with pytest.raises(Forbidden, match="Origin"):  # a websocket's handshake has no method
        gate().admit({"type": "websocket", "path": "/"}, {**RIGHT, b"origin": origin})


def test_the_services_own_origin_may() -> None:
    assert gate().admit(call(), {**RIGHT, b"origin": b"http://127.0.0.1:8080"})


def test_a_caller_has_a_cap_on_what_is_under_way() -> None:
    caller = Caller("owner", 2)
    caller.enter()
    caller.enter()
    with pytest.raises(QueueFull, match="max_in_flight"):
        caller.enter()
    caller.leave()
    caller.enter()


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
