"""The process that a model is tried in: opened on the CPU, one made-up row run, nothing told but an exit status.

    python -m workbench.runtimes.sandbox_process     one line of JSON on standard input: path, config, memory_mib

It imports little, because each new model waits for it, and ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

from workbench.config import MIB, model_config
from workbench.errors import WorkbenchError

TRIED, RAISED, NO_MEMORY = 0, 1, 3
"""Exit statuses; any other is a crash."""

OVERHEAD_MIB = 4096
"""Address space beside the model's: libraries, the stacks and the heaps of threads, mostly never touched."""


def main() -> int:
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit(told["memory_mib"] + OVERHEAD_MIB)
    from workbench.runtimes.first_run import first_size_that_runs
    from workbench.runtimes.registry import open_session

    try:
        session = open_session(Path(told["path"]), model_config({**told["config"], "device": "cpu"}), instances=1)
        _, trouble = first_size_that_runs(session)
    except MemoryError:
        return NO_MEMORY
    except WorkbenchError as error:
        trouble = error.message
    if _is_memory(trouble):
        return NO_MEMORY
    return RAISED if trouble else TRIED


def _is_memory(message: str) -> bool:
    return any(words in message for words in ("not enough memory", "bad_alloc"))


def _limit(memory_mib: int) -> None:
    """No more addresses than that, and no core file: a crash is expected here."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_mib * MIB, memory_mib * MIB))


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    # At once: a library's own end may crash too, and that is not what was asked.
    os._exit(main())
