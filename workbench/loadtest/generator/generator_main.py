"""The load generator's process, apart from the kernel so that the kernel's work delays no request.

It reads a spec and the requests from stdin, streams rows and progress to stdout, and exits with the run. At SIGINT,
SIGTERM or a stop message it records requests in flight as cancelled and sends what it has. When stdin ends, or its
parent process changes, the reader is gone and it exits at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import sys
import time
from typing import BinaryIO

from workbench.loadtest.analysis.latency_histogram import EMPTY, counted
from workbench.loadtest.generator.ipc import Frames, MessageKind, Spec, decode_request, decode_spec, frame, message
from workbench.loadtest.generator.load_runner import LoadRunner, RenewableToken, Request
from workbench.loadtest.generator.transports import opener_of
from workbench.loadtest.store.records import ROW, Records

REPORT_S = 0.1
PARENT_S = 0.5
ROWS_AT_ONCE = 512
"""Rows are written once there are this many, or with the next report: larger writes would delay requests."""

_READ_BYTES = 1 << 20


def main() -> int:
    """Run one spec; the exit status is 0 however the run ended."""
    frames = Frames()
    parent = os.getppid()
    spec, requests = _read_spec(sys.stdin.buffer, frames, parent)
    # Rows are packed bytes and connections break their own cycles, so the garbage collector has nothing to find.
    gc.freeze()
    gc.disable()
    loop_factory = asyncio.new_event_loop
    if sys.platform != "win32":
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_Generator(spec, requests, parent).run(frames))
    return 0


def _read_spec(stream: BinaryIO, frames: Frames, parent: int) -> tuple[Spec, list[Request]]:
    """Read until GO; later messages stay in `frames`. Raises SystemExit when the parent is gone."""
    spec: Spec | None = None
    requests: list[Request] = []
    while True:
        # Another child of the parent may hold the pipe open, so EOF alone does not show that the parent is gone.
        while not select.select([stream], (), (), PARENT_S)[0]:
            if os.getppid() != parent:
                raise SystemExit(1)
        if not (data := os.read(stream.fileno(), _READ_BYTES)):
            raise SystemExit(1)
        for kind, body in frames.feed(data):
            if kind == MessageKind.SPEC:
                spec = decode_spec(body)
            elif kind == MessageKind.REQUEST:
                requests.append(decode_request(body))
            elif kind == MessageKind.GO and spec is not None:
                return spec, requests


class _Generator:
    def __init__(self, spec: Spec, requests: list[Request], parent: int) -> None:
        token = RenewableToken(spec.token, spec.token_file)
        self._runner = LoadRunner(spec.plan, requests, opener_of(spec), self._say, token)
        self._parent = parent
        self._out: asyncio.WriteTransport | None = None
        self._lags = EMPTY
        self._longest_turn_s = 0.0
        self._cpu_began_s = time.process_time()
        self._began_s = time.monotonic()
        self._stopped = ""

    async def run(self, frames: Frames) -> None:
        loop = asyncio.get_running_loop()
        # Output is buffered without bound: a slow reader must not slow the run down.
        self._out, report = await loop.connect_write_pipe(_Report, sys.stdout.buffer)
        await loop.connect_read_pipe(lambda: _Orders(self._runner, frames), sys.stdin.buffer)
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._signalled, each)
        reports = loop.create_task(self._report())
        try:
            await self._runner.run(self._begin)
        finally:
            reports.cancel()
        self._flush()
        self._write(message(MessageKind.DONE, {**self._figures(), "stopped": self._stopped}))
        self._out.close()
        await report.sent.wait()

    def _begin(self) -> None:
        self._cpu_began_s = time.process_time()
        self._began_s = self._runner.began
        behind_s = time.monotonic() - self._runner.began
        self._write(message(MessageKind.BEGAN, {"at": time.time() - behind_s, "monotonic": self._runner.began}))

    async def _report(self) -> None:
        """Send rows and progress ten times a second, and check that the parent still lives."""
        parent_s = 0.0
        while True:
            due_s = time.monotonic() + REPORT_S / 10
            # Ten short sleeps instead of one: how late each wakes shows how long the loop's turns are.
            for _ in range(10):
                await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
                now_s = time.monotonic()
                self._longest_turn_s = max(self._longest_turn_s, now_s - due_s)
                due_s = now_s + REPORT_S / 10
                if len(self._runner.rows) >= ROWS_AT_ONCE * ROW.itemsize:
                    self._flush()
            self._flush()
            self._write(message(MessageKind.PROGRESS, self._figures()))
            parent_s += REPORT_S
            if parent_s >= PARENT_S:
                parent_s = 0.0
                if os.getppid() != self._parent:
                    _leave()

    def _flush(self) -> None:
        runner = self._runner
        if runner.lags_s:
            lags, runner.lags_s = runner.lags_s, []
            self._lags = self._lags + counted(lags)
        if runner.rows:
            data, runner.rows = runner.rows, bytearray()
            self._write(frame(MessageKind.ROWS, Records.packed(data).to_bytes()))

    def _figures(self) -> dict[str, float]:
        runner, lags = self._runner, self._lags
        elapsed_s = max(runner.elapsed_s, 1e-9)
        return {
            "elapsed_s": elapsed_s,
            "due": runner.due_count,
            "ended": runner.ended_count,
            "errors": runner.error_count,
            "in_flight": runner.in_flight,
            "waiting": runner.waiting,
            "lag_p50_s": lags.quantile(0.5) or 0.0,
            "lag_p99_s": lags.quantile(0.99) or 0.0,
            "lag_max_s": lags.quantile(1.0) or 0.0,
            "cpu_share": (time.process_time() - self._cpu_began_s) / elapsed_s,
            "connections": runner.connections,
            "connect_errors": runner.connect_errors,
            "reconnects": runner.reconnects,
            "held_back": runner.held_back,
            "held_back_max_s": runner.held_back_max_s,
            "longest_turn_s": self._longest_turn_s,
        }

    def _say(self, outcome: str, words: str) -> None:
        self._write(message(MessageKind.SAID, {"outcome": outcome, "words": words}))

    def _signalled(self, number: signal.Signals) -> None:
        self._stopped = number.name
        self._runner.stop()

    def _write(self, data: bytes) -> None:
        if self._out is not None and not self._out.is_closing():
            self._out.write(data)


class _Report(asyncio.BaseProtocol):
    """Notices that stdout has been written out and closed."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()

    def connection_lost(self, error: Exception | None) -> None:
        self.sent.set()


class _Orders(asyncio.Protocol):
    """Reads stdin during the run: a stop message, or its end."""

    def __init__(self, runner: LoadRunner, frames: Frames) -> None:
        self._runner = runner
        self._frames = frames
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        if any(kind == MessageKind.STOP for kind, _ in self._frames.feed(data)):
            self._runner.stop()

    def eof_received(self) -> None:
        _leave()

    def connection_lost(self, error: Exception | None) -> None:
        pass


def _leave() -> None:
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
