"""The life of a function's process: makes the function, then runs it for one request at a time."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
from typing import Any

from workbench.functions.worker.array_messages import Channel
from workbench.functions.worker.bundled_function import Function, TooMuch, told
from workbench.functions.worker.function_arrays import packed_array
from workbench.functions.worker.printed_output import Printed


def serve(control: int, taken: int, given: int) -> None:
    """Serve what comes over the socket `control`; inputs lie in the file `taken`, outputs are put into `given`."""
    own = os.getpid()
    channel = Channel(socket.socket(fileno=control), taken, given)
    printed = Printed()
    sys.stdout = sys.stderr = printed
    started, _ = channel.received()
    try:
        _limit(started["memory_bytes"])
        function = Function(started["bundle"])
    except BaseException as error:
        channel.send(told(error, printed), [])
        raise SystemExit(1) from None
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    channel.send({"log": printed.taken()}, [])
    most = started["output_bytes"]
    while True:
        answer: dict[str, Any]
        parts: list[Any] = []
        try:
            asked, parts = channel.received()  # which may take more memory than there is
            specs, arrays = function.call(parts, asked["shapes"], asked.get("outputs"))
            _check_size(sum(array.nbytes for array in arrays if array.dtype.kind not in "OUT"), most)
            packed = [packed_array(spec, array) for spec, array in zip(specs, arrays, strict=True)]
            _check_size(sum(map(len, packed)), most)
            answer = {"outputs": [[*spec, list(array.shape)] for spec, array in zip(specs, arrays, strict=True)]}
        except BaseException as error:  # what it raises is one request's, SystemExit too
            answer, packed = told(error, printed), []
        if os.getpid() != own:
            os._exit(0)  # a fork of the function's: the answer is for its parent to give
        if log := printed.taken():
            answer["log"] = log
        channel.send(answer, packed)
        del parts, packed


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise TooMuch(
            f"the function's answer has {size} bytes; worker_output_mib, which is {most >> 20}, allows {most}"
        )


def _limit(memory_bytes: int) -> None:
    """Of memory that belongs to this process alone: what it maps of files, or reserves, does not count."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("800")  # goes before the service where the machine's memory is used up
