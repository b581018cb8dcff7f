"""The process that models are tried in, one after another: opened on the CPU, one made-up row run, and closed.

    python -m workbench.runtimes.sandbox_process

It takes a line of JSON for each model on standard input (path, config, memory_mib), and answers each with a line on
standard output: {"outcome": one of the constants below, "last": true where it takes no further model}. A model that
harms it ends it without an answer. It imports little, because new models wait for it, and ends when its input does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Final

from workbench.config import MIB, model_config
from workbench.errors import WorkbenchError

TRIED: Final = "tried"
RAISED: Final = "raised"
"""It has an error, and says which when it is loaded."""
NO_MEMORY: Final = "no memory"

OVERHEAD_MIB: Final = 4096
"""Address space beside the model's: libraries, the stacks and the heaps of threads, mostly never touched."""

MAX_MODELS: Final = 100
MAX_GROWTH_MIB: Final = 1024
"""Address space that models before may have left occupied."""


def main() -> None:
    answers = _answers()
    asked: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_read, args=(asked,), daemon=True).start()
    first_size = 0
    for count in range(1, MAX_MODELS + 1):
        told = asked.get()
        _limit(told["memory_mib"] + OVERHEAD_MIB)
        outcome = _try(Path(told["path"]), told["config"])
        gc.collect()
        size = _address_space()
        first_size = first_size or size
        last = count == MAX_MODELS or size - first_size > MAX_GROWTH_MIB * MIB
        answers.write(json.dumps({"outcome": outcome, "last": last}) + "\n")
        answers.flush()
        if last:
            return


def _try(path: Path, config: dict[str, Any]) -> str:
    from workbench.runtimes.first_run import first_size_that_runs
    from workbench.runtimes.registry import open_session

    try:
        session = open_session(path, model_config({**config, "device": "cpu"}), instances=1)
        try:
            _, trouble = first_size_that_runs(session)
        finally:
            session.close()
    except MemoryError:
        return NO_MEMORY
    except WorkbenchError as error:
        trouble = error.message
    if any(words in trouble for words in ("not enough memory", "bad_alloc")):
        return NO_MEMORY
    return RAISED if trouble else TRIED


def _answers() -> IO[str]:
    """Standard output, which libraries cannot write to any more."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "w", encoding="utf-8")


def _limit(memory_mib: int) -> None:
    """No more addresses than that, and no core file: a crash is expected here."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_mib * MIB, memory_mib * MIB))


def _address_space() -> int:
    """Bytes of this process; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _read(asked: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin.buffer:
        asked.put(json.loads(line))
    os._exit(1)  # the parent has gone, or wants no more, whatever a model does at the moment


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    finally:
        # At once: a library's own end may crash too, and that is not what was asked.
        os._exit(status)
