from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncGenerator, Callable

import numpy as np
import pytest

from tests.models import add_constant
from workbench.api import Workbench
from workbench.client import sync
from workbench.client.shared_service import Address


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


def test_a_call_works_inside_a_running_loop() -> None:
    async def cell() -> int:
        return sync.run(answer())

    assert asyncio.run(cell()) == 42


def test_calls_from_several_threads_share_the_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def where() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    threads = [threading.Thread(target=lambda: loops.append(sync.run(where()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, loops))) == 1


def test_a_call_from_the_loops_own_thread_is_refused_instead_of_waiting_for_ever() -> None:
    async def within() -> int:
        return sync.run(answer())

    with pytest.raises(RuntimeError, match="own loop"):
        sync.run(within())


def test_an_error_comes_out_as_it_was_raised() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        sync.run(fail())


def test_whoever_waits_can_do_something_meanwhile() -> None:
    enough = threading.Event()
    calls: list[str] = []

    def meanwhile() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            enough.set()

    async def wait() -> str:
        return "there" if await asyncio.to_thread(enough.wait, 20) else "late"

    assert sync.run(wait(), meanwhile, 0.001) == "there"
    assert set(calls) == {threading.current_thread().name}


def test_what_is_done_meanwhile_may_end_the_call() -> None:
    cancelled = threading.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def give_up() -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        sync.run(never(), give_up, 0.001)
    assert cancelled.is_set()


def test_an_asynchronous_generator_is_closed_when_its_reader_stops() -> None:
    closed = []

    async def count() -> AsyncGenerator[int, None]:
        try:
            for i in range(100):
                yield i
        finally:
            closed.append(True)

    items = sync.iterate(count())
    assert [next(items), next(items)] == [0, 1]
    items.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert list(sync.iterate(count()))[-1] == 99


def run_script(code: str, service: Address) -> subprocess.Popen[str]:
    token = service.token or ""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), service.url, token],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_cancels_the_call_and_the_next_one_works(service: Address) -> None:
    script = """
        import asyncio, signal, sys
        import workbench
        from workbench.client import sync

        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it

        wb = workbench.connect(sys.argv[1], sys.argv[2])

        async def never():
            print("waiting", flush=True)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("cancelled", flush=True)
                raise

        try:
            sync.run(never())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(len(wb.models()), flush=True)
    """
    with run_script(script, service) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert output.splitlines() == ["cancelled", "interrupted", "0"]
    assert errors == ""
    assert process.returncode == 0


@pytest.mark.parametrize("handed_over", [True, False])
def test_ctrl_c_while_a_call_is_handed_to_the_loop_ends_it_too(
    handed_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, began, ended = sync._loop_thread().loop, threading.Event(), threading.Event()
    hand_over = loop.call_soon_threadsafe

    async def never() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def interrupted(callback: Callable[..., object], *given: object) -> None:
        monkeypatch.undo()
        if handed_over:
            hand_over(callback, *given)
            assert began.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
    call = never()
    with pytest.raises(KeyboardInterrupt):
        sync.run(call)
    assert ended.is_set() is handed_over
    assert inspect.getcoroutinestate(call) == inspect.CORO_CLOSED


def test_a_forked_child_calls_on_connections_of_its_own_and_the_parents_stay(wb: Workbench, service: Address) -> None:
    wb.load("forked", add_constant(1.0))
    script = """
        import os, sys
        import numpy as np
        import workbench

        wb = workbench.connect(sys.argv[1], sys.argv[2])
        row = np.zeros(4, np.float32)
        assert wb["forked"](row).array[0, 0] == 1.0
        child = os.fork()
        if child == 0:
            assert wb["forked"](row).array[0, 0] == 1.0
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), wb["forked"](row).array[0, 0])
    """
    with run_script(script, service) as process:
        output, errors = process.communicate(timeout=30)
    assert output == "7 1.0\n"
    assert errors == ""


def test_a_workbench_that_is_forgotten_leaves_no_connection_and_no_word(service: Address) -> None:
    script = """
        import sys
        import workbench

        for _ in range(3):
            wb = workbench.connect(sys.argv[1], sys.argv[2])
            wb.models()
    """
    with run_script(script, service) as process:
        output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == ("", "", 0)


def test_a_stream_that_is_left_open_says_nothing_at_exit(service: Address) -> None:
    script = """
        import sys
        import workbench

        watching = workbench.connect(sys.argv[1], sys.argv[2]).snapshots(0.1)
        next(watching)
    """
    with run_script(script, service) as process:
        output, errors = process.communicate(timeout=30)
    assert (output, errors, process.returncode) == ("", "", 0)


def test_many_threads_may_predict_at_once(wb: Workbench) -> None:
    wb.load("threads", add_constant(1.0))
    model = wb["threads"]
    answers: list[float] = []

    def call(i: int) -> None:
        answers.append(float(model(np.full(4, i, np.float32)).array[0, 0]))

    threads = [threading.Thread(target=call, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [i + 1.0 for i in range(16)]


def test_stopping_twice_is_harmless() -> None:
    thread = sync.LoopThread()
    thread.start()
    assert thread.run(answer()) == 42
    thread.stop()
    thread.stop()
    assert os.getpid()
