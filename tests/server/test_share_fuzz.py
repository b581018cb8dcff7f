"""Calls of the routes of shares and of their links, nearly right ones and any others: none fails the service."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.server.conftest import House, open_house
from tests.server.driver import body

NO_HANG_S = 30.0

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=8), each, max_size=4),
    max_leaves=8,
)
AMOUNTS = st.sampled_from(["20", "20/s", "600/min", "0", "-1", "1e9/s", "1d", "7d", "9999d", "1MB", "10/day", "nan"])
TERM = st.one_of(AMOUNTS, st.integers(-(2**70), 2**70), st.floats(), ANYTHING)
TERMS = st.fixed_dictionaries(
    {
        "models": st.one_of(st.just(["digits"]), st.lists(st.sampled_from(["digits", "spare", "", "../x", "n"]))),
        "label": st.one_of(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(max_size=70)),
    },
    optional={
        **dict.fromkeys(("rate", "row_rate", "quota", "row_quota", "version", "max_body", "expires"), TERM),
        **dict.fromkeys(("max_in_flight", "metrics", "show_token", "url", "else"), ANYTHING),
    },
)
WEIGHTS = st.dictionaries(st.sampled_from(["1", "2", "v1", "stable", "x"]), st.floats() | ANYTHING, max_size=3)
ROUTES = st.fixed_dictionaries({"weights": WEIGHTS, "share": st.from_regex(r"[a-z]{1,3}", fullmatch=True) | ANYTHING})
RAW = st.binary(max_size=200)
NAMES = st.from_regex(r"[A-Za-z0-9._%-]{1,20}", fullmatch=True)
CALLS = st.one_of(
    st.tuples(st.just("POST"), st.just("/control/shares"), TERMS | RAW),
    st.tuples(st.just("POST"), st.just("/share/claim"), st.fixed_dictionaries({"code": ANYTHING}) | ANYTHING | RAW),
    st.tuples(st.just("POST"), st.just("/control/models/digits/route"), ROUTES),
    st.tuples(st.just("DELETE"), NAMES.map(lambda name: f"/control/shares/{name}"), st.none()),
    st.tuples(st.sampled_from(["GET", "PUT", "HEAD"]), st.just("/control/shares"), st.none()),
)


class Fuzz:
    """One service in this process, and what it was asked so far."""

    def __init__(self, house: House, runner: asyncio.Runner) -> None:
        self._house = house
        self._runner = runner
        self._codes: list[str] = []
        self.statuses: dict[int, int] = {}

    def ask(self, method: str, path: str, content: object) -> None:
        self._runner.run(asyncio.wait_for(self._ask(method, path, content), NO_HANG_S))

    async def _ask(self, method: str, path: str, content: object) -> None:
        driver = self._house.stranger if path == "/share/claim" else self._house.call
        if self._codes and path == "/share/claim" and content == {}:
            content = {"code": self._codes.pop()}  # a right one now and then
        sent = msgspec.json.encode(content) if content is not None and not isinstance(content, bytes) else content
        reply = await driver(method, path, sent)
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        assert reply.status < 500 or reply.status == 501, (method, path, content, reply.body)
        if reply.status >= 400 and method != "HEAD":
            assert reply.error and "\n" not in reply.error, (method, path, content)
            assert "wbk_" not in reply.error
        if reply.status == 200 and path == "/control/shares" and method == "POST" and "link" in reply.json:
            self._codes.append(reply.json["link"].partition("#")[2])
        if reply.status == 200 and len(self._codes) > 50:
            for share in (await self._house.call("GET", "/control/shares")).json:
                await self._house.call("DELETE", f"/control/shares/{share['id']}")
            self._codes.clear()

    async def whole(self) -> None:
        """What is listed is what is kept, and the owner is served."""
        listed = (await self._house.call("GET", "/control/shares")).json
        kept = self._house.service.persistence.shares.shares()
        assert sorted(each["id"] for each in listed) == sorted(each.record.id for each in kept)
        assert (await self._house.call("POST", "/v2/models/digits/infer", body(1.0))).status == 200


def fuzz(folder: Path, examples: int, until: float = 0.0) -> dict[int, int]:
    """At least so many calls, and until `until`, on time.monotonic."""

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        fuzzing = Fuzz(runner.run(stack.enter_async_context(open_house(folder))), runner)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(call=CALLS)
        def called(call: tuple[str, str, Any]) -> None:
            fuzzing.ask(*call)

        called()
        while time.monotonic() < until:
            called()
        runner.run(fuzzing.whole())
        runner.run(stack.aclose())
    return fuzzing.statuses


def test_no_call_of_a_share_s_routes_or_of_its_link_fails_the_service(tmp_path: Path) -> None:
    statuses = fuzz(tmp_path, 400)
    assert {200, 400, 404} <= statuses.keys(), statuses


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ten_minutes_of_such_calls_end_without_an_error_of_the_service(tmp_path: Path) -> None:
    print(fuzz(tmp_path, 1000, time.monotonic() + 600))
