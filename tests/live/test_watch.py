"""What Watch makes of what it finds; real services are in test_story.py."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.helpers.thief import AS_ANOTHER_USER, Thief
from tests.helpers.waiting import until_async
from tests.live.listening import Heard
from tests.live.ticks import FakeService
from workbench.client import own_connector
from workbench.client.share_results import SharedAccess
from workbench.client.shared_service import SharedService
from workbench.core.rollout_view import RolloutView
from workbench.errors import StorageError, Unavailable
from workbench.live.view import SILENT
from workbench.live.watch import Watch, observe
from workbench.rendezvous.compatibility import API
from workbench.rendezvous.folder import Rendezvous
from workbench.rendezvous.leases import holders
from workbench.rendezvous.process_identity import this_process
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

ME = this_process()
DEAD = replace(ME, began=ME.began - 1)
RECORD = ServiceRecord("http://127.0.0.1:1", "the-token", "", ME, ME, ServiceState.STARTING, "why", 1.0, "1.0", API)


@pytest.fixture
def shared(tmp_path: Path) -> SharedService:
    return SharedService(Rendezvous(tmp_path / "runtime").open(), tmp_path / "data")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def watch(shared: SharedService, heard: Heard) -> AsyncIterator[Watch]:
    watch = Watch(shared, heard, logging.getLogger("watch"), version="1.0")
    watch.attentive = True
    yield watch
    await watch.close()


async def test_each_change_is_told_once(watch: Watch, shared: SharedService, heard: Heard) -> None:
    await watch._look()
    shared.rendezvous.publish(RECORD)
    for _ in range(3):
        await watch._look()
    shared.rendezvous.publish(replace(RECORD, state=ServiceState.STOPPING, reason="no more"))
    await watch._look()
    assert [(service.state, service.reason) for service in heard.services] == [
        ("Stopped", "it has not been started yet"),
        ("Starting", "why"),
        ("Stopping", "no more"),
    ]


async def test_a_load_that_is_over_before_anybody_looks_was_work_all_the_same(watch: Watch, heard: Heard) -> None:
    watch._update_models([{"name": "m", "state": "Ready", "queued": 0}])
    assert (len(heard.models), heard.works) == (1, 1)
    watch._update_models(
        [{"name": "m", "state": "Ready", "queued": 3, "sequences": {"active": 1}, "cache": {"hits": 1}}]
    )
    watch._update_models([])
    assert (len(heard.models), heard.works) == (2, 1)


async def test_the_first_call_of_a_share_is_told_once_and_not_what_was_before(watch: Watch, heard: Heard) -> None:
    def shares(**called: bool) -> list[SharedAccess]:
        said = ("m",), "holds", None, None, 16, 1.0, 4e9, None, 0, 0, 0, None
        return [
            SharedAccess(f"s-{name}", name, *said, first_call_at=7.0 if each else None) for name, each in called.items()
        ]

    watch._update_shares(shares(old=True, a=False))
    watch._update_shares(shares(old=True, a=True, b=False))
    watch._update_shares(shares(old=True, a=True, b=False))
    watch._update_shares(shares(old=True, a=True, b=True))
    assert heard.calls == ["a", "b"]


async def test_what_becomes_of_a_rollout_is_told_once_and_not_what_was_before(watch: Watch, heard: Heard) -> None:
    def at(told: str, changed_at: float, status: str = "running", began_at: float = 1.0) -> RolloutView:
        times = began_at, changed_at, 9.0, 1.0, changed_at
        return RolloutView("m", "2", "1", status, told, "", 1, (0.5, 1.0), 60.0, "errors<1%", "halt", 0, "", *times)

    watch._update_rollouts([at("step 1", 1.0)])
    for found in (at("step 1", 1.0), at("step 2", 2.0), at("step 2", 2.0), at("done", 3.0, "done")):
        watch._update_rollouts([found])
    watch._update_rollouts([])
    watch._update_rollouts([at("another", 4.0, began_at=4.0)])
    assert heard.rollouts == ["step 2", "done", "another"]


async def test_a_record_that_is_lost_holds_for_as_long_as_its_keeper_lives(shared: SharedService) -> None:
    assert observe(shared, None).record is None
    assert observe(shared, RECORD).record == RECORD
    assert observe(shared, replace(RECORD, keeper=DEAD)).record is None


async def test_a_folder_that_cannot_be_read_is_a_state_and_is_logged_once_it_matters(
    watch: Watch, shared: SharedService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    shared.rendezvous.publish(RECORD)
    await watch._look()

    def broken() -> None:
        raise StorageError("the folder cannot be read")

    monkeypatch.setattr(shared, "record", broken)
    for _ in range(5):
        await watch._look()
    assert (watch.view.state, watch.view.reason) == ("Stopped", "the folder cannot be read")
    assert [record.getMessage() for record in caplog.records] == [
        "the service is Starting: why",
        "the service is Stopped: the folder cannot be read",
    ]
    with pytest.raises(Unavailable, match="cannot be read"):
        await watch.client()


async def test_what_nobody_foresaw_is_logged_once_and_got_over(
    watch: Watch, shared: SharedService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("workbench.live.watch.LOOK_S", 0.01)
    looks = 0
    find = shared.record

    def fails() -> ServiceRecord | None:
        nonlocal looks
        looks += 1
        if looks < 5:
            raise RuntimeError("can't start new thread")
        return find()

    monkeypatch.setattr(shared, "record", fails)
    await watch.open()
    shared.rendezvous.publish(RECORD)
    await until_async(lambda: watch.view.state == "Starting")
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_a_service_of_another_api_is_failed_and_left_alone(
    watch: Watch, shared: SharedService, heard: Heard
) -> None:
    shared.rendezvous.publish(replace(RECORD, state=ServiceState.READY, api=API + 1))
    await watch._look()
    assert watch.view.state == "Failed"
    assert "restart" in watch.view.reason
    with pytest.raises(Unavailable, match="speaks API"):
        await watch.client()


@pytest.mark.parametrize("hold", [True, False])
async def test_a_lease_is_held_where_that_is_wanted_and_given_back(
    shared: SharedService, heard: Heard, hold: bool
) -> None:
    """On a service that is Ready, and hangs up whenever it is asked for its stream."""
    asked = asyncio.Event()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        watch = Watch(shared, heard, logging.getLogger("watch"), version="1.0", hold=hold)
        shared.rendezvous.publish(replace(RECORD, url=url, state=ServiceState.READY))
        await watch.open()
        await asyncio.wait_for(asked.wait(), 10)
        assert holders(shared.rendezvous.leases) == ([ME] if hold else [])
        await watch.close()
    assert holders(shared.rendezvous.leases) == []
    assert watch.view.state == "Ready"


async def test_figures_come_from_a_service_that_still_loads_what_it_served_before(
    watch: Watch, shared: SharedService, heard: Heard
) -> None:
    service = FakeService()
    service.second(0.1)

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/control/stream" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n")
            assert b"&past=900 " in head
            for line in (*service.past(), *(service.snapshot() for _ in range(3))):
                writer.write(msgspec.json.encode(line) + b"\n")
            await reader.read()  # until it has left
        else:
            body = b'{"devices": ["cpu"], "models": [{"name": "digits", "state": "Loading", "queued": 0}]}'
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        shared.rendezvous.publish(replace(RECORD, url=url, progress="restoring models, 3 of 20 done"))
        await watch.open()
        await until_async(lambda: heard.ticks and heard.models)
        assert (watch.view.state, watch.view.progress) == ("Starting", "restoring models, 3 of 20 done")
        assert set(heard.ticks[0].models) == {"digits"}
        assert [(tick.time, set(tick.models)) for tick in heard.past] == [(1001.0, {"digits"})]
        assert heard.models[0][0]["state"] == "Loading"
        with pytest.raises(Unavailable, match="Starting"):
            await watch.client()
        await watch.close()


async def test_a_service_that_had_nothing_to_say_while_it_started_is_not_called_deaf(
    shared: SharedService, heard: Heard
) -> None:
    now = 1000.0
    watch = Watch(shared, heard, logging.getLogger("watch"), version="1.0", clock=lambda: now)
    shared.rendezvous.publish(RECORD)
    await watch._look()
    watch._heard_at = now
    now += 60
    await watch._look()
    shared.rendezvous.publish(replace(RECORD, state=ServiceState.READY, reason=""))
    await watch._look()
    assert (watch.view.state, watch.view.reason) == ("Ready", "")
    now += 60
    await watch._look()
    assert watch.view.reason == SILENT


async def test_a_page_sends_nothing_to_who_took_the_port_of_a_service(
    watch: Watch, shared: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not AS_ANOTHER_USER:
        monkeypatch.setattr(own_connector, "owner_of_peer", lambda *_: 65534)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Thief([port]) as thief:
        await asyncio.to_thread(thief.wait_until_it_listens)
        shared.rendezvous.publish(replace(RECORD, url=f"http://127.0.0.1:{port}", state=ServiceState.READY))
        await watch._look()
        with pytest.raises(Unavailable):
            await (await watch.client()).service()
        await asyncio.to_thread(thief.wait_until_clients_left)
        assert not thief.got


async def test_it_can_be_closed_at_any_moment(shared: SharedService, heard: Heard) -> None:
    for turns in range(20):
        watch = Watch(shared, heard, logging.getLogger("watch"), version="1.0")
        await watch.open()
        for _ in range(turns):
            await asyncio.sleep(0)
        watch.look_now()
        await asyncio.wait_for(watch.close(), 5)
