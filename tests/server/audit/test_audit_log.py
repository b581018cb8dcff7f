from __future__ import annotations

import asyncio
import dataclasses
import logging
from pathlib import Path

import pytest

from tests.helpers.full_disk import full_disk
from workbench.errors import NotFound
from workbench.server.audit.audit_log import BUNDLE_S, MAX_BUNDLES, SEVERAL, TEXT, AuditLog, Noted, Source
from workbench.server.audit.audit_store import AuditStore

OWNER = Source("owner", "http", "127.0.0.1", "curl/8")
STRANGER = Source("anyone", "http", "192.0.2.7", "curl/8", anonymous=True)


class Place:
    """An audit in a folder, and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now = 2_000_000_000.0
        self.failed = 0
        self.store = AuditStore(folder / "audit.sqlite")
        self.log = AuditLog(self.store, self._fail, lambda text: text.replace("hush", "[token]"), lambda: self.now)

    def _fail(self, rows: int) -> None:
        self.failed += rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_an_action_is_written_down_with_how_it_ended(place: Place) -> None:
    noted = Noted("digits")
    async with place.log.noting("load", OWNER, noted):
        noted.detail = "version 2, in place of 1"
    with pytest.raises(NotFound):
        async with place.log.noting("unload", OWNER, Noted("gone")):
            raise NotFound("no such model")
    with pytest.raises(ZeroDivisionError):
        async with place.log.noting("set", OWNER, Noted("digits")):
            raise ZeroDivisionError
    found = await place.log.entries(0.0, 10)
    assert [(each.action, each.subject, each.detail, each.outcome) for each in found] == [
        ("load", "digits", "version 2, in place of 1", "ok"),
        ("unload", "gone", "", "not_found"),
        ("set", "digits", "", "internal"),
    ]
    assert {(each.who, each.way, each.address, each.agent) for each in found} == {
        ("owner", "http", "127.0.0.1", "curl/8")
    }


async def test_a_call_that_is_cancelled_is_written_down_too(place: Place) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with place.log.noting("load", OWNER, Noted("digits")):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (found,) = await place.log.entries(0.0, 10)
    assert found.outcome == "cancelled"


async def test_refusals_that_are_alike_are_one_row(place: Place) -> None:
    for _ in range(1000):
        place.log.refused("rotate-token", "unauthenticated", STRANGER)
        place.now += 0.01
    place.log.refused("load", "forbidden", STRANGER)
    first, second = await place.log.entries(0.0, 10)
    assert (first.action, first.count, first.since) == ("rotate-token", 1000, 2_000_000_000.0)
    assert first.at == pytest.approx(first.since + 9.99)
    assert (second.action, second.count) == ("load", 1)


async def test_a_flood_of_refusals_that_differ_is_a_bounded_number_of_rows(place: Place) -> None:
    for number in range(5000):
        source = dataclasses.replace(STRANGER, address=f"192.0.2.{number % 256}", agent=f"bot {number}")
        place.log.refused("load", "unauthenticated", source)
    found = await place.log.entries(0.0, 100)
    assert len(found) == MAX_BUNDLES + 1
    assert sum(each.count for each in found) == 5000
    assert found[-1].address == found[-1].agent == SEVERAL


async def test_what_nobody_with_a_token_asked_for_counts_among_the_refusals(place: Place) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            async with place.log.noting("claim", STRANGER, Noted()):
                raise NotFound("this link gives no token")
    async with place.log.noting("claim", STRANGER, Noted("team-a")):
        pass
    found = await place.log.entries(0.0, 10)
    assert sorted((each.outcome, each.subject, each.count) for each in found) == [
        ("not_found", "", 3),
        ("ok", "team-a", 1),
    ]


async def test_refusals_are_written_by_themselves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    written = asyncio.Event()
    add, loop = place.store.add_refusals, asyncio.get_running_loop()

    def added(entries: object) -> None:
        add(entries)  # type: ignore[arg-type]
        loop.call_soon_threadsafe(written.set)

    monkeypatch.setattr(place.store, "add_refusals", added)
    monkeypatch.setattr("workbench.server.audit.audit_log.BUNDLE_S", 0.0)
    assert BUNDLE_S > 0
    place.log.refused("load", "unauthenticated", STRANGER)
    await asyncio.wait_for(written.wait(), 60)


async def test_no_secret_is_written_and_texts_are_cut(place: Place) -> None:
    told = dataclasses.replace(OWNER, agent="curl hush \x1b[31m" + "wbk_" + "s" * 43, who="o" * 1000)
    async with place.log.noting("revoke", told, Noted("wbk_" + "t" * 43, "y" * 195 + "hush")):
        pass
    place.log.refused("load", "forbidden", told)
    for found in await place.log.entries(0.0, 10):
        assert found.agent == r"curl [token] \x1b[31m[token]"
        assert len(found.who) == TEXT
    content = place.store.path.read_bytes()
    assert not any(secret in content for secret in (b"hush", b"tttt", b"ssss"))


async def test_on_a_full_disk_what_is_done_is_done_and_the_log_says_so_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "workbench.server")
    done = 0
    with full_disk():
        for _ in range(3):
            async with place.log.noting("load", OWNER, Noted("digits")):
                done += 1
    assert (done, place.failed) == (3, 3)
    assert caplog.text.count("the audit cannot be written") == 1
    for _ in range(2):
        async with place.log.noting("unload", OWNER, Noted("digits")):
            pass
    assert caplog.text.count("the audit can be written again") == 1
    assert [each.action for each in await place.log.entries(0.0, 10)] == ["unload", "unload"]
