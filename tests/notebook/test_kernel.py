"""`%infer` in a real kernel: what a notebook is shown while a call is under way, and what its stop button does."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from jupyter_client.manager import KernelManager

from tests.helpers.processes import generators, has_ended
from tests.helpers.waiting import until
from tests.models import save, slow
from workbench.api import Workbench, connect
from workbench.client.shared_service import shared_service

SOON_S = 60.0


class Kernel:
    """A kernel that runs cells, and what each of them put out."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, cell: str, seen: Callable[[dict[str, Any]], object] = lambda message: None) -> list[dict[str, Any]]:
        """The messages of the cell until the kernel is idle again; `seen` is given each as it comes."""
        asked = self.client.execute(cell)
        messages = []
        while True:
            message = self.client.get_iopub_msg(timeout=SOON_S)
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return messages
            messages.append(message)
            seen(message)

    def until(self, words: str) -> dict[str, Any]:
        """The next update of a display that has `words`, whichever cell it is of."""
        while True:
            message = self.client.get_iopub_msg(timeout=SOON_S)
            if message["msg_type"] == "update_display_data" and words in shown(message):
                return message


def shown(message: dict[str, Any]) -> str:
    text = message["content"].get("data", {}).get("text/plain", "")
    return str(text)


def errors(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message["content"] for message in messages if message["msg_type"] == "error"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the kernels of this module and their shared service live."""
    folder = tmp_path_factory.mktemp("kernels")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNTIME_DIR", "DATA_DIR"):
            patch.setenv(f"INFER_WORKBENCH_{name}", str(folder / name.lower()))
        yield folder
        shared_service().stop()
        shared_service().release()


@pytest.fixture(scope="module")
def kernel(folders: Path) -> Iterator[Kernel]:
    """A kernel beside a shared service that serves `slow`, a row at a time."""
    save(slow(), folders / "slow.onnx")
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folders))
    kernel = Kernel(manager)
    try:
        loaded = kernel.run("import numpy as np\n%load_ext workbench\n%infer load slow slow.onnx --max-batch 1")
        assert not errors(loaded)
        yield kernel
    finally:
        kernel.client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


@pytest.fixture
def wb(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """The same service, seen from outside the kernel."""
    monkeypatch.setattr("workbench.api.connecting._latest", None)
    with connect() as workbench:
        yield workbench


def test_the_stop_button_ends_a_long_call_and_nothing_else(kernel: Kernel, wb: Workbench) -> None:
    pid = wb.status()["processes"]
    stopped_at: list[float] = []

    def stop(message: dict[str, Any]) -> None:
        if " of 2,000 rows" in shown(message) and not stopped_at:
            stopped_at.append(time.monotonic())
            kernel.manager.interrupt_kernel()

    messages = kernel.run("%infer predict slow np.ones((2000, 4))", stop)
    assert stopped_at, "no progress was shown"
    (error,) = errors(messages)
    assert error["traceback"] == ["KeyboardInterrupt: interrupted; the request was cancelled"]
    assert any("stopped after" in shown(message) for message in messages)
    again = kernel.run("%infer predict slow np.ones((1, 4))")
    assert not errors(again)
    assert wb.status()["processes"] == pid
    (figures,) = wb.models(window="60s")
    assert figures.queued == 0
    assert figures.requests["ok"] < 2000


def test_a_bar_is_one_display_drawn_anew_and_left_as_one_line(kernel: Kernel) -> None:
    messages = kernel.run("p = %infer predict slow np.ones((80, 4))\nlen(p.array)")
    kinds = [message["msg_type"] for message in messages if "display" in message["msg_type"]]
    assert kinds[:1] == ["display_data"]
    assert set(kinds[1:]) == {"update_display_data"}
    drawn = [message for message in messages if "display" in message["msg_type"]]
    assert "<progress" in drawn[0]["content"]["data"]["text/html"]
    assert "predict slow: done in" in shown(drawn[-1])
    assert "<progress" not in drawn[-1]["content"]["data"]["text/html"]


def test_a_quick_call_shows_no_bar(kernel: Kernel) -> None:
    messages = kernel.run("%infer predict slow np.ones((1, 4))")
    assert [message["msg_type"] for message in messages] == ["status", "execute_input", "execute_result"]


def test_a_job_goes_on_while_other_cells_run_and_shows_its_end(kernel: Kernel) -> None:
    begun = kernel.run("%%infer predict slow --bg -o job\nrows = np.ones((200, 4))\nrows + 1")
    assert "predict slow: running" in shown(next(m for m in begun if m["msg_type"] == "display_data"))
    meanwhile = kernel.run("len(rows), job.done()")
    assert "(200, False)" in [shown(message) for message in meanwhile]
    assert "predict slow: done after" in shown(kernel.until("predict slow: done"))
    result = kernel.run("(await job).array.shape, job.state")
    assert "((200, 4), <JobState.DONE: 'done'>)" in [shown(message) for message in result]


def test_a_mistake_in_a_cell_is_shown_where_it_is_in_the_cell(kernel: Kernel) -> None:
    (error,) = errors(kernel.run("%%infer predict slow\nrows = [1, 2]\nrows[7]"))
    text = "\n".join(error["traceback"])
    assert error["ename"] == "IndexError"
    assert "line 3" in text
    assert "rows[" in text
    for ours in ("run_cell_magic", "magics.py", "cell.py"):
        assert ours not in text


# Last: it kills the kernel


def test_cells_run_while_a_load_test_does_and_it_ends_with_the_kernel(kernel: Kernel, wb: Workbench) -> None:
    begun = kernel.run("test = %infer bench slow --rate 20 --duration 300s --bg\nimport os; os.getpid()")
    assert not errors(begun)
    (pid,) = [int(shown(message)) for message in begun if message["msg_type"] == "execute_result"]
    meanwhile = kernel.run("sum(range(10)), test.done()")
    assert "(45, False)" in [shown(message) for message in meanwhile]
    result = kernel.run("%infer predict slow np.ones((1, 4))")
    assert not errors(result)

    until(lambda: generators(pid))
    (generator,) = generators(pid)
    psutil.Process(pid).kill()
    until(lambda: has_ended(generator))
    assert wb["slow"](np.ones((1, 4), np.float32)).array.shape == (1, 4)


TRANSFORMER = """
import time, psutil, torch
from torch import nn
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30522, 384)
        layer = nn.TransformerEncoderLayer(384, 12, 1536, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(384, 2)
    def forward(self, ids):
        return self.head(self.layers(self.embedding(ids)).mean(1))
net = Encoder()
ids = torch.randint(0, 30522, (1, 9))
with torch.no_grad():
    net(ids)
before = psutil.Process().memory_info().rss
began = time.perf_counter()
"""
"""22 million weights in float32, 90 MB."""


@pytest.mark.long
@pytest.mark.serial
def test_a_transformer_of_90_mb_is_soon_served_and_the_kernel_is_as_small_as_before(kernel: Kernel) -> None:
    assert not errors(kernel.run(TRANSFORMER))
    messages = kernel.run(
        "report = %infer load encoder net --example ids\nanswer = %infer predict encoder ids\n"
        "took = time.perf_counter() - began\ngrown = (psutil.Process().memory_info().rss - before) / 1e6"
    )
    assert not errors(messages)
    said = kernel.run("report.exported, net.training, took, grown")
    exported, training, took, grown = ast.literal_eval(shown(said[-1]))
    assert "batch and sequence axes free" in exported
    assert training
    print(f"{took:.1f} s from the cell to the first answer; the kernel grew by {grown:.1f} MB")
    assert took < 15
    assert grown < 50


@pytest.mark.long
def test_the_stop_button_ends_an_export_and_the_next_one_needs_no_example(kernel: Kernel) -> None:
    kernel.run(TRANSFORMER)
    kernel.run("import os, tempfile; os.mkdir('temp'); tempfile.tempdir = os.path.abspath('temp')")
    kernel.run("net(ids); children = lambda: [each.pid for each in psutil.Process().children() if each.is_running()]")
    before = ast.literal_eval(shown(kernel.run("children()")[-1]))
    stopped: list[bool] = []

    def stop(message: dict[str, Any]) -> None:
        if "exporting the Encoder" in shown(message) and not stopped:
            stopped.append(True)
            kernel.manager.interrupt_kernel()

    (error,) = errors(kernel.run("%infer load stopped net", stop))
    assert error["ename"] == "Interrupted"
    left = "os.listdir('temp'), children()"
    until(lambda: ast.literal_eval(shown(kernel.run(left)[-1])) == ([], before), SOON_S)
    messages = kernel.run("%infer load stopped net")
    assert not errors(messages)
    assert "as it was last called" in shown(messages[-1])
