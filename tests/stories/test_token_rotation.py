"""The owner's token is replaced while the service is used: no old one stays valid, and clients of the owner go on."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.live.listening import Heard
from tests.server.real_service import serving, started
from workbench import connect
from workbench.api import Workbench
from workbench.client.client import AsyncClient
from workbench.client.grpc_client import GrpcClient
from workbench.client.shared_service import SharedService
from workbench.core.messages import InferRequest, InferResponse
from workbench.errors import StorageError, Unauthenticated, WorkbenchError
from workbench.live.watch import Watch
from workbench.protocols import oip_grpc
from workbench.rendezvous.service_record import ServiceState

ROW = np.zeros((1, 4), np.float32)
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}).encode()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("rotated"), {"m": models.add_constant(1.0)}) as serve:
        yield serve


@pytest.fixture
def own_serve(tmp_path: Path) -> Iterator[Serve]:
    """For what ends it."""
    with serving(tmp_path, {"m": models.add_constant(1.0)}) as serve:
        yield serve


def connected(serve: Serve, *, over_grpc: bool = False) -> Workbench:
    url = f"grpc://{serve.grpc}" if over_grpc else serve.published["url"]
    return connect(url, token_file=serve.published["token_file"])


class Thief:
    """Has a copy of the token, and holds on to every kind of connection that it opened with it."""

    def __init__(self, serve: Serve) -> None:
        self.headers = {"Authorization": f"Bearer {serve.token}", "Content-Type": "application/json"}
        self.http = http.client.HTTPConnection(serve.address, timeout=60)
        self.watching = http.client.HTTPConnection(serve.address, timeout=60)
        self.half_sent = [self._half(serve, path) for path in ("/v2/models/m/infer", "/control/models/m/set")]
        self.channel = grpc.insecure_channel(serve.grpc)
        self.metadata = (("authorization", self.headers["Authorization"]),)
        for _ in range(3):
            assert (self.infer(), self.infer_grpc()) == (200, "OK")
        self.watching.request("GET", "/control/stream?interval=10", headers=self.headers)
        self.stream = self.watching.getresponse()
        assert self.stream.readline()
        more = threading.Event()
        self.more = more

        def messages() -> Iterator[bytes]:
            yield message()
            more.wait(60)

        path = "/inference.GRPCInferenceService/ModelStreamInfer"
        self.talk: Any = self.channel.stream_stream(path)(messages(), metadata=self.metadata)
        assert next(self.talk)
        self.health: Any = self.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\n\x01m", metadata=self.metadata)
        assert next(self.health)

    def close(self) -> None:
        self.more.set()
        self.channel.close()
        for each in (self.http, self.watching, *self.half_sent):
            each.close()

    def infer(self) -> int:
        """With the same bytes on the same connection, which the service knows by now."""
        self.http.request("POST", "/v2/models/m/infer", BODY, self.headers)
        response = self.http.getresponse()
        response.read()
        return response.status

    def infer_grpc(self) -> str:
        call = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            call(message(), metadata=self.metadata, timeout=60)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    def _half(self, serve: Serve, path: str) -> socket.socket:
        host, _, port = serve.address.rpartition(":")
        half = socket.create_connection((host, int(port)), 60)
        lines = [f"POST {path} HTTP/1.1", f"Host: {serve.address}", f"Content-Length: {len(BODY)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        half.sendall("\r\n".join([*lines, "", ""]).encode() + BODY[:10])
        return half


def message() -> bytes:
    return oip_grpc.encode_request(InferRequest("m", {"x": ROW}))


def ended_with(stream: Any) -> str:
    try:
        for _ in stream:
            pass
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


class Users:
    """Clients of the owner that call all the time, over both protocols."""

    def __init__(self, serve: Serve) -> None:
        self.done = [0, 0, 0]
        self.errors: list[BaseException] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work, number))
            for number, work in enumerate(
                (self._predict(serve), self._predict(serve, over_grpc=True), self._talk(serve))
            )
        ]

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def go_on(self) -> None:
        """Until each has been answered some more."""
        before = list(self.done)
        until(lambda: self.errors or all(now > was + 5 for now, was in zip(self.done, before, strict=True)))

    def _guarded(self, work: Callable[[int], None], number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            self.errors.append(error)

    def _predict(self, serve: Serve, *, over_grpc: bool = False) -> Callable[[int], None]:
        def work(number: int) -> None:
            with connected(serve, over_grpc=over_grpc) as wb:
                while not self._end.is_set():
                    assert wb.predict("m", ROW).array.tolist() == [[1, 1, 1, 1]]
                    self.done[number] += 1

        return work

    def _talk(self, serve: Serve) -> Callable[[int], None]:
        async def talk(number: int) -> None:
            sent = 0

            async def requests() -> Any:
                nonlocal sent
                while not self._end.is_set():
                    sent += 1
                    yield InferRequest("m", {"x": np.full((1, 4), sent, np.float32)})
                    while sent > self.done[number] + 20:
                        await asyncio.sleep(0.001)

            async with GrpcClient(
                f"grpc://{serve.grpc}", serve.token, token_file=serve.published["token_file"]
            ) as client:
                async for answer in client.stream(requests()):
                    assert isinstance(answer, InferResponse), answer
                    self.done[number] += 1
                    assert answer.outputs["y"][0, 0] == self.done[number] + 1  # each once, and in order
            assert self.done[number] == sent

        return lambda number: asyncio.run(talk(number))


def test_under_load_no_old_token_stays_valid_and_clients_of_the_owner_go_on(serve: Serve) -> None:
    old, thief = serve.token, Thief(serve)
    with connected(serve) as wb, Users(serve) as users:
        for _ in range(3):
            card = wb.rotate_token()
            assert card["token file"] == serve.published["token_file"]
            assert (thief.infer(), thief.infer_grpc()) == (401, "UNAUTHENTICATED")
            assert serve.token not in repr(card)
            users.go_on()
            assert not users.errors
    assert not users.errors
    assert serve.token != old
    assert thief.stream.read() == b""  # ended, and not in the middle
    assert [ended_with(each) for each in (thief.talk, thief.health)] == ["UNAUTHENTICATED", "UNAUTHENTICATED"]
    for half in thief.half_sent:
        assert half.recv(4096).startswith(b"HTTP/1.1 401")
        half.sendall(BODY[10:])
    assert serve.call("POST", "/v2/models/m/infer", BODY, Content_Type="application/json")[0] == 200
    thief.close()


def test_the_token_in_the_file_counts_after_every_kind_of_restart(own_serve: Serve, tmp_path: Path) -> None:
    serve = own_serve

    def statuses(*tokens: str) -> list[int]:
        return [
            serve.call_at(serve.address, "GET", "/control/status", Authorization=f"Bearer {each}")[0] for each in tokens
        ]

    first = serve.token
    with connected(serve) as wb:
        wb.rotate_token()
        second = serve.token
        assert statuses(first, second) == [401, 200]
        killed = worker_of(serve)
        killed.kill()
        serve.ready()
        assert (serve.token, statuses(first, second)) == (second, [401, 200])
        wb.rotate_token()
        third = serve.token
        assert statuses(first, second, third) == [401, 401, 200]
    assert serve.stop() == 0
    said = "\n".join(serve.seen) + (serve.data_dir / "service.log").read_text(encoding="utf-8")
    assert not [token for token in (first, second, third) if token in said]
    with started(tmp_path) as serve:
        assert (serve.token, statuses(first, second, third)) == (third, [401, 401, 200])


def test_wherever_the_worker_is_killed_exactly_the_token_in_the_file_is_valid(serve: Serve) -> None:
    seen = [serve.token]
    for rotations in (1, 2, 3):
        worker, connection = worker_of(serve), http.client.HTTPConnection(serve.address, timeout=60)
        enough = len(seen) + rotations

        def kill(worker: psutil.Process = worker, enough: int = enough) -> None:
            until(lambda: len(seen) >= enough)
            worker.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises((OSError, http.client.HTTPException)):
            while True:  # on one connection, which ends with the worker
                headers = {"Authorization": f"Bearer {serve.token}", "Content-Type": "application/json"}
                connection.request("POST", "/control/token/rotate", b"{}", headers)
                response = connection.getresponse()
                assert (response.status, bool(response.read())) == (200, True)
                seen.append(serve.token)
        killer.join()
        connection.close()
        serve.ready()
        found = {
            token: serve.call_at(serve.address, "GET", "/control/status", Authorization=f"Bearer {token}")[0]
            for token in {*seen, serve.token}
        }
        assert found.pop(serve.token) == 200
        assert set(found.values()) == {401}


@pytest.mark.parametrize("over_grpc", [False, True], ids=["http", "grpc"])
def test_a_load_test_under_way_goes_on_without_an_error(serve: Serve, over_grpc: bool) -> None:
    from workbench.loadtest.bench import bench_target
    from workbench.loadtest.plan import Target

    url = f"grpc://{serve.grpc}" if over_grpc else str(serve.published["url"])
    file = str(serve.published["token_file"])
    target = Target("m", url, token=serve.token, controlled=True, control_url=serve.published["url"], token_file=file)
    with connected(serve) as wb:
        job = bench_target(target, users=4, duration="1.5s", warm_up="0.1s")
        until(lambda: job.progress.done > 50)
        wb.rotate_token()
        run = job.result(120).run
    assert run.whole.ok
    assert run.whole.errors == 0, run.examples
    assert file not in repr(run) + json.dumps(run.plan, default=str)


async def test_what_was_lent_ends_with_its_token_and_is_lent_again_with_the_new_one(serve: Serve) -> None:
    url, file = str(serve.published["url"]), serve.published["token_file"]
    async with AsyncClient(url, serve.token, token_file=file) as client, AsyncClient(url, serve.token) as thief:

        async def until_it_is(rows: int) -> None:
            async with asyncio.timeout(60):
                while (await client.status("m")).config.max_batch_size != rows:
                    await asyncio.sleep(0.01)

        before = (await client.status("m")).config.max_batch_size
        async with thief.lend("m", {"max_batch_size": 3}):
            await until_it_is(3)
            await client.rotate_token()
            await until_it_is(before)
            with pytest.raises(Unauthenticated, match="does not know this token"):
                await thief.service()
        async with client.lend("m", {"max_batch_size": 7}):
            await until_it_is(7)
            await client.rotate_token()
            await until_it_is(7)
        await until_it_is(before)


def test_a_token_file_of_the_users_own_is_replaced_where_it_is_theirs(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("my-own-token-0123456789\n")
    own.chmod(0o600)
    with started(tmp_path, "--token-file", str(own)) as serve, connected(serve) as wb:
        wb.rotate_token()
        assert own.read_text() != "my-own-token-0123456789\n"
        assert own.stat().st_mode & 0o777 == 0o600
        assert wb.status()["state"] == "ready"
        link = own.rename(tmp_path / "elsewhere")
        own.symlink_to(link)
        with pytest.raises(StorageError, match=r"it is a link .* restart the service"):
            wb.rotate_token()
        own.unlink()
        with pytest.raises(StorageError, match=r"cannot be found .* put it back"):
            wb.rotate_token()
        assert wb.status()["state"] == "ready"


def test_the_shared_service_tells_everyone_its_new_token(workplace: SharedService) -> None:
    with connect() as wb, connect() as other:
        before = wb.token(show=True)
        file = Path(str(before["token file"]))
        assert before["token"] == file.read_text().strip()
        assert "token" not in wb.token().facts
        wb.rotate_token()
        assert other.models() is not None
        until(lambda: (record := workplace.record()) is not None and record.token == file.read_text().strip())
        assert wb.token(show=True)["token"] == file.read_text().strip() != before["token"]
        with pytest.raises(Unauthenticated):
            connect(wb.url, str(before["token"]))
        with connect(wb.url, token_file=file) as third:
            assert third.models() is not None
        wb.stop()
        with pytest.raises(WorkbenchError, match="no service runs"):
            wb.rotate_token()


async def test_pages_that_follow_the_service_go_on(workplace: SharedService) -> None:
    with await asyncio.to_thread(connect) as wb:
        heard = Heard()
        watch = Watch(workplace, heard, logging.getLogger("watch"), version="1.0", hold=False, interval_s=0.1)
        watch.attentive = True
        await watch.open()
        try:

            async def until_more_ticks() -> None:
                before = len(heard.ticks)
                async with asyncio.timeout(60):
                    while len(heard.ticks) < before + 3:
                        await asyncio.sleep(0.01)

            await until_more_ticks()
            client = await watch.client()
            for _ in range(3):
                await asyncio.to_thread(wb.rotate_token)
                assert await client.statuses() == []  # which a page has just asked for
                assert await (await watch.client()).statuses() == []
                await until_more_ticks()
            assert {service.state for service in heard.services} == {ServiceState.READY}
        finally:
            await watch.close()
