"""The blocking face of the asyncio client: one event loop on one background thread a process.

A notebook has a running loop of its own on the main thread, and a script has none; a loop of ours serves both, and
any thread. A forked child has no such thread, so it starts its own on first use and never touches the parent's.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from workbench.client.fork_safety import keep_from_children

T = TypeVar("T")

CANCEL_WAIT_S = 2.0
"""How long Ctrl-C waits for the cancelled call to tidy up, before it is left to do so in the background."""

CLOSE_WAIT_S = 0.2
"""How long the end of the process waits for connections to close, before what is still under way is cancelled."""


class LoopThread:
    """An event loop on a daemon thread; ended at exit, after its tasks were cancelled."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._finalizers: list[weakref.finalize[Any, Any]] = []
        self._thread = threading.Thread(target=self._serve, name="infer-workbench-client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_here(self) -> bool:
        return threading.current_thread() is self._thread

    def run(
        self, call: Coroutine[Any, Any, T], meanwhile: Callable[[], object] | None = None, every_s: float = 0.25
    ) -> T:
        """The result of `call`, run on the loop. Ctrl-C cancels it and raises KeyboardInterrupt here.

        `meanwhile` is called here every `every_s` seconds; what it raises ends the call likewise.
        """
        if self.is_here():
            call.close()
            raise RuntimeError("a blocking call cannot be made from a callback of the client's own loop")
        ended = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_noting_its_end(call, ended), self.loop)
        try:
            while meanwhile is not None and not concurrent.futures.wait([future], every_s).done:
                meanwhile()
            return future.result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None
        except BaseException:
            if not future.done():  # interrupted here, not failed there
                future.cancel()
                ended.wait(CANCEL_WAIT_S)
            raise

    def begin(self, call: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Have `call` run on the loop, and wait for nothing; from any thread, this one included."""
        try:
            return asyncio.run_coroutine_threadsafe(call, self.loop)
        except RuntimeError:  # the process is ending, and the loop has
            call.close()
            never: concurrent.futures.Future[T] = concurrent.futures.Future()
            never.cancel()
            return never

    def close_with(self, owner: object, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        finalizer = weakref.finalize(owner, self._close_soon, close)
        finalizer.atexit = False
        self._finalizers = [*(other for other in self._finalizers if other.alive), finalizer]

    def adopt(self, parents: LoopThread) -> None:
        """In a forked child: what the parent's loop was to close, this one closes."""
        for finalizer in parents._finalizers:
            if (found := finalizer.peek()) is not None:
                owner, _, (close,), _ = found
                self.close_with(owner, close)

    def stop(self) -> None:
        """Close what is open, cancel what runs, end the thread. Called at exit; a second call does nothing."""
        if self.loop.is_closed():
            return
        for finalizer in self._finalizers:
            if (found := finalizer.detach()) is not None:  # to call it does nothing any more: weakref is shut down
                _, schedule, arguments, _ = found
                schedule(*arguments)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)

    def _close_soon(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """From whatever thread drops the last reference, so it only schedules."""
        if self._pid == os.getpid() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(close()))

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        if tasks := asyncio.all_tasks(self.loop):
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=CLOSE_WAIT_S))
        if tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=CANCEL_WAIT_S))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


def run(call: Coroutine[Any, Any, T], meanwhile: Callable[[], object] | None = None, every_s: float = 0.25) -> T:
    """The result of `call`, run on this process's background loop; until it is there, `meanwhile` is called here every
    `every_s` seconds."""
    return _loop_thread().run(call, meanwhile, every_s)


def is_here() -> bool:
    """Whether this is the background loop's own thread, on which nobody may wait for it."""
    return _current is not None and _current.is_here()


def start(call: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Have `call` run on this process's background loop, and wait for nothing. At the process's end it is cancelled."""
    return _loop_thread().begin(call)


def close_with(owner: object, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await `close()` on the loop once nothing refers to `owner` any more, or at exit. `close` must not refer to it."""
    _loop_thread().close_with(owner, close)


def iterate(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items of an asynchronous generator, one blocking step each; closing this one closes that one."""
    try:
        while True:
            try:
                yield run(_next(items))
            except StopAsyncIteration:
                return
    finally:
        if _current is not None and not _current.loop.is_closed():  # at exit the loop has closed it already
            run(items.aclose())


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


async def _noting_its_end(call: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await call
    finally:
        ended.set()


_lock = threading.Lock()
_current: LoopThread | None = None
_parents: LoopThread | None = None


def _loop_thread() -> LoopThread:
    global _current
    with _lock:
        if _current is None:
            _current = LoopThread()
            _current.start()
            keep_from_children(_current)
            if _parents is not None:
                _current.adopt(_parents)
            atexit.register(_stop, _current, os.getpid())
        return _current


def _stop(thread: LoopThread, pid: int) -> None:
    if os.getpid() == pid:
        thread.stop()


def _forget_the_parents_loop() -> None:
    global _current, _parents, _lock
    _lock = threading.Lock()  # the parent's may have been held by a thread that does not exist here
    _parents, _current = _current or _parents, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents_loop)
