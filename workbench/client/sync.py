"""Blocking calls for the asyncio client: one event loop on one background thread per process.

A notebook already runs a loop on the main thread, and a script has none. A loop of our own serves both, and any thread.
A forked child has no such thread: it starts its own on first use and never touches the parent's.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

from workbench.client.fork_safety import keep_from_children

T = TypeVar("T")

CANCEL_WAIT_S = 2.0
"""Seconds that Ctrl-C waits for the cancelled call to clean up; after that it does so in the background."""

CLOSE_WAIT_S = 0.2
"""Seconds that the end of the process waits for connections to close, before running calls are cancelled."""


class LoopThread:
    """An event loop on a daemon thread. At exit its tasks are cancelled and it ends."""

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
        """Run `call` on the loop and return its result. Ctrl-C cancels it and raises KeyboardInterrupt here.

        `meanwhile` is called here every `every_s` seconds; an exception of it cancels the call too.
        """
        if self.is_here():
            call.close()
            raise RuntimeError("a blocking call cannot be made from a callback of the client's own loop")
        begun = _Call(self.loop, call)
        future = begun.future
        try:
            self.loop.call_soon_threadsafe(begun.start)  # a Ctrl-C may come before this has returned
            while meanwhile is not None and not concurrent.futures.wait([future], every_s).done:
                meanwhile()
            return future.result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None
        except BaseException:
            if not future.done():  # interrupted here, not failed there
                self.loop.call_soon_threadsafe(begun.cancel)
                begun.ended.wait(CANCEL_WAIT_S)
            raise

    def begin(self, call: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start `call` on the loop without waiting. For any thread, the loop's own included."""
        try:
            return asyncio.run_coroutine_threadsafe(call, self.loop)
        except RuntimeError:  # the process is ending, and the loop has ended
            call.close()
            never: concurrent.futures.Future[T] = concurrent.futures.Future()
            never.cancel()
            return never

    def close_with(self, owner: object, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        finalizer = weakref.finalize(owner, self._close_soon, close)
        finalizer.atexit = False
        self._finalizers = [*(other for other in self._finalizers if other.alive), finalizer]

    def adopt(self, parents: LoopThread) -> None:
        """In a forked child: take over what the parent's loop was to close."""
        for finalizer in parents._finalizers:
            if (found := finalizer.peek()) is not None:
                owner, _, (close,), _ = found
                self.close_with(owner, close)

    def stop(self) -> None:
        """Close what is open, cancel what runs, end the thread. Called at exit; a second call does nothing."""
        if self.loop.is_closed():
            return
        for finalizer in self._finalizers:
            if (found := finalizer.detach()) is not None:  # calling it does nothing, because weakref is shut down
                _, schedule, arguments, _ = found
                schedule(*arguments)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)

    def _close_soon(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Schedule `close`. Called on the thread that drops the last reference, which may be any."""
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
    """Run `call` on this process's background loop and return its result. Meanwhile `meanwhile` is called here every
    `every_s` seconds."""
    return _loop_thread().run(call, meanwhile, every_s)


def is_here() -> bool:
    """Return whether this is the background loop's own thread, which must not wait for the loop."""
    return _current is not None and _current.is_here()


def start(call: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Start `call` on this process's background loop without waiting. It is cancelled when the process ends."""
    return _loop_thread().begin(call)


def close_with(owner: object, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await `close()` on the loop when the last reference to `owner` is gone, or at exit.

    `close` must not refer to it.
    """
    _loop_thread().close_with(owner, close)


def iterate(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Iterate over an asynchronous generator with blocking steps. Closing this generator closes that one."""
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


class _Call(Generic[T]):
    """A call that another thread waits for, and can cancel whether or not it has begun. `start` and `cancel` belong to
    the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Coroutine[Any, Any, T]) -> None:
        self.future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.ended = threading.Event()
        self._loop = loop
        self._call = call
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = self._loop.create_task(self._run())

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._call.close()
            self.ended.set()

    async def _run(self) -> None:
        try:
            self.future.set_result(await self._call)
        except asyncio.CancelledError:
            self.future.cancel()
            self.future.set_running_or_notify_cancel()
            raise
        except BaseException as error:
            self.future.set_exception(error)
        finally:
            self.ended.set()


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
    _lock = threading.Lock()  # a thread that does not exist here may have held the parent's
    _parents, _current = _current or _parents, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents_loop)
