"""The generator as a process, seen through its handle, against servers of which the truth is known."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.helpers.processes import generators, has_ended
from tests.helpers.waiting import until
from tests.loadtest.known_runs import END_S, plan, recorded
from tests.loadtest.servers import Process, Script
from workbench.errors import InvalidInput, NotFound, Unavailable
from workbench.loadtest.job import LoadTestJob, start
from workbench.loadtest.patterns import Constant, Pattern, Ramp, Replay, Stairs, Users
from workbench.loadtest.plan import Inputs, Plan, Target
from workbench.loadtest.store.recording import Recording
from workbench.loadtest.store.records import Records

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("pattern", "sent"),
    [
        (Constant(200), 100),
        (Ramp(100, 300), 100),
        (Stairs(100, 100, 0.25), 75),
        (Replay((0.0, 0.1, 0.1, 0.4)), 4),
    ],
    ids=lambda value: value.kind if not isinstance(value, int) else "",
)
def test_an_open_loop_sends_all_that_is_due(pattern: Pattern, sent: int) -> None:
    found = recorded(Script(), pattern)
    assert found.ended == "finished" and found.reason == ""
    assert found.rows.counts() == {"ok": sent}
    assert found.generator.due == sent
    assert not generators()


def test_users_wait_for_their_answers() -> None:
    found = recorded(Script(delays_s=(0.05,)), Users(4))
    assert set(found.rows.counts()) == {"ok"}
    assert len(found.rows) <= 4 * 10 + 4
    assert (found.rows.latency_s >= 0.05).all()
    by_time = found.rows[np.argsort(found.rows.scheduled_s)]
    due_s = by_time.scheduled_s
    assert (due_s[4:] >= due_s[:-4] + 0.05).all()


def test_users_think_between_requests() -> None:
    found = recorded(Script(), Users(1, think_s=0.1))
    assert 1 <= len(found.rows) <= 5
    assert (np.diff(found.rows.scheduled_s) >= 0.1).all()


def test_the_warm_up_is_marked_and_the_stairs_are_counted() -> None:
    found = recorded(Script(), Stairs(100, 100, 0.25), warm_up_s=0.25)
    assert [len(found.rows.step(number)) for number in (-1, 0, 1)] == [25, 25, 50]
    assert found.measured_s == 0.5 and found.window_s == (0.25, 0.75)


def test_every_kind_of_end_is_a_row() -> None:
    statuses = (200, 400, 401, 429, 500, 503, 504)
    found = recorded(Script(statuses=statuses), Constant(140))
    assert found.rows.counts() == {
        "ok": 10, "invalid": 20, "rejected": 10, "failed": 10, "unavailable": 10, "expired": 10
    }  # fmt: skip
    assert found.examples["rejected"] == 'HTTP 429: {"error": "made to answer 429"}'


@pytest.mark.parametrize("style", ["plain", "chunked", "until end"])
def test_answers_are_read_however_they_are_delimited(style: str) -> None:
    found = recorded(Script(style=style), Constant(100))
    assert found.rows.counts() == {"ok": 50}
    assert (found.rows.response_bytes > 100).all()
    assert found.generator.reconnects == 0 or style == "until end"


def test_a_server_that_closes_its_connections_costs_no_request() -> None:
    found = recorded(Script(close_every=3), Constant(200))
    assert found.rows.counts() == {"ok": 100}
    assert found.generator.reconnects >= 33


def test_broken_connections_become_rows() -> None:
    found = recorded(Script(break_after=51), Constant(200))
    assert found.rows.counts() == {"ok": 50, "connection": 50}
    assert "closed before an answer" in found.examples["connection"]


def test_a_server_that_hangs_costs_the_timeout_counted_from_when_requests_were_due() -> None:
    found = recorded(Script(hang_after=51), Constant(200), timeout_s=1.0, connections=8)
    assert found.rows.counts() == {"ok": 50, "timeout": 50}
    late = found.rows[found.rows.outcome != 0]
    assert (late.latency_s >= 1.0).all()
    assert np.nanmax(late.late_s) > 0.1  # eight connections only: the others waited for one


def test_a_server_that_dies_midway_leaves_refused_connections() -> None:
    with Process(Script()) as server:
        seen = threading.Event()
        handle = start(plan(server, Constant(200), duration_s=1.0))
        handle.on_rows = lambda rows: seen.set()
        assert seen.wait(END_S)
        server.kill()
        found = handle.result(END_S)
    counts = found.rows.counts()
    assert counts["ok"] + counts["connection"] == 200
    assert found.ended == "finished"
    assert found.generator.connect_errors


def test_an_open_loop_never_waits_for_answers_until_its_connections_are_all_busy() -> None:
    found = recorded(Script(delays_s=(0.2,)), Constant(100), connections=10)
    assert found.rows.counts() == {"ok": 50}
    assert found.generator.connections == 10
    assert found.generator.held_back > 20
    assert any("all 10 connections were busy" in note for note in found.notes)
    assert found.rows.latency_s.max() > 0.4  # the wait counts


def test_progress_can_be_looked_at_and_awaited() -> None:
    async def story() -> Recording:
        with Process(Script()) as server:
            handle = await asyncio.to_thread(start, plan(server, Constant(200), duration_s=0.3))
            waiting = asyncio.ensure_future(_wait(handle))
            waiting.cancel()
            found = await handle
            assert handle.done() and handle.progress.state == "ended"
            assert handle.progress.done == 60 and handle.progress.p99_s is not None
            return found

    assert asyncio.run(story()).ended == "finished"


async def _wait(handle: LoadTestJob[Recording]) -> Recording:
    return await handle


def test_a_run_that_is_cancelled_keeps_what_it_has() -> None:
    chunks = list[Records]()
    with Process(Script(delays_s=(0.0, 5.0))) as server:
        handle = start(plan(server, Constant(100), duration_s=60.0))
        came = threading.Event()

        def take(rows: Records) -> None:
            chunks.append(rows)
            came.set()

        handle.on_rows = take
        assert came.wait(END_S)
        with pytest.raises(TimeoutError):
            handle.result(timeout=0)
        assert (so_far := handle.so_far()) is not None and so_far.ended == "running" and len(so_far.rows)
        handle.cancel()
        found = handle.result(END_S)
    assert found.ended == "cancelled" and "stopped" in found.reason
    assert set(found.rows.counts()) == {"ok", "cancelled"}
    assert 0 < found.measured_s < 60
    assert sum(map(len, chunks)) == len(found.rows)
    assert not generators()


def test_a_run_that_is_cancelled_at_once_still_ends() -> None:
    with Process(Script()) as server:
        handle = start(plan(server, Constant(100), duration_s=60.0))
        handle.cancel()
        assert handle.result(END_S).ended == "cancelled"
    assert not generators()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_generator_that_is_told_to_end_gives_what_it_has(number: signal.Signals) -> None:
    with Process(Script()) as server:
        handle = start(plan(server, Constant(100), duration_s=60.0))
        came = threading.Event()
        handle.on_rows = lambda rows: came.set()
        assert came.wait(END_S)
        (generator,) = generators()
        generator.send_signal(number)
        found = handle.result(END_S)
    assert found.ended == "cancelled" and len(found.rows)


def test_a_generator_that_is_killed_leaves_what_came_before() -> None:
    with Process(Script()) as server:
        handle = start(plan(server, Constant(100), duration_s=60.0))
        came = threading.Event()
        handle.on_rows = lambda rows: came.set()
        assert came.wait(END_S)
        (generator,) = generators()
        generator.kill()
        found = handle.result(END_S)
    assert found.ended == "cut short" and "ended before its time" in found.reason
    assert len(found.rows)


PARENT = """
import os, sys, threading
from workbench.loadtest.job import start
from workbench.loadtest.patterns import Constant
from workbench.loadtest.plan import Plan, Target

handle = start(Plan(Target("m", sys.argv[1]), Constant(100), duration_s=600.0))
came = threading.Event()
handle.on_rows = lambda rows: came.set()
came.wait()
{then}
print("rows", flush=True)
handle.result()
"""


@pytest.mark.parametrize(
    "then", ["", "if not os.fork(): threading.Event().wait()"], ids=["alone", "with a child that holds its pipe"]
)
def test_killing_the_kernel_ends_the_generator(then: str) -> None:
    code = PARENT.format(then=then)
    with Process(Script()) as server:
        parent = subprocess.Popen([sys.executable, "-c", code, server.url], stdout=subprocess.PIPE, cwd=ROOT)
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"rows\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        (generator,) = generators(parent.pid)
        parent.kill()
        until(lambda: has_ended(generator))
        for each in children:
            if each.is_running():
                each.kill()
        parent.stdout.close()
        parent.wait()


def test_what_cannot_be_right_is_said_before_the_run() -> None:
    with Process(Script()) as server:
        target = Target("m", server.url)
        with pytest.raises(NotFound):
            start(Plan(Target("other", server.url), Constant(1)))
        with pytest.raises(InvalidInput, match=r"x FP32\[rows, 4\]: axis 1 takes 4; an array of shape \[10, 3\]"):
            start(Plan(target, Constant(1), Inputs("rows", values=np.zeros((10, 3), np.float32))))
        with pytest.raises(InvalidInput, match=r"request 2 of 2: .*takes 4"):
            start(Plan(target, Constant(1), Inputs("requests", values=[np.zeros((1, 4)), np.zeros((1, 5))])))
        with pytest.raises(InvalidInput, match="no rows"):
            start(Plan(target, Constant(1), Inputs("rows", values=np.zeros((0, 4), np.float32))))
    with Process(Script(statuses=(400,))) as server, pytest.raises(InvalidInput, match="refuses these inputs"):
        start(Plan(Target("m", server.url), Constant(1)))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(Unavailable, match="does not answer"):
            start(Plan(Target("m", f"http://127.0.0.1:{port}"), Constant(1)))
    assert not generators()


def test_the_environment_of_the_caller_is_left_alone() -> None:
    before = dict(os.environ)
    recorded(Script(), Constant(20))
    assert dict(os.environ) == before
