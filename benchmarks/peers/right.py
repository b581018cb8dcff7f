"""Whether a server's answers are right: many different rows at once, so that a batch that mixes its callers shows."""

from __future__ import annotations

import concurrent.futures
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.bodies import Row, rows_of
from benchmarks.load import Body

ROWS, CALLERS = 64, 16

Read = Callable[[bytes, Mapping[str, str]], Row]


class WrongAnswer(Exception):
    """A server answered, and not what the model says."""


def call(url: str, body: Body) -> tuple[bytes, dict[str, str]]:
    """(answer, headers with names in lower case). urllib's errors where there is none."""
    request = urllib.request.Request(url, body.data, body.headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read(), {name.lower(): value for name, value in response.headers.items()}


def expected(path: Path, model: str, count: int) -> tuple[Row, Row]:
    """(rows, what the model makes of them), computed a row at a time by bare `session.run`."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = rows_of(model, count)
    return rows, np.concatenate([session.run(None, {"x": row[None]})[0] for row in rows])


def check(url: str, write: Callable[[Row], Body], read: Read, rows: Row, outputs: Row) -> None:
    """Raises WrongAnswer, or what the call raised."""

    def ask(index: int) -> None:
        answer, headers = call(url, write(rows[index]))
        try:
            row = read(answer, headers)
        except Exception as error:
            raise WrongAnswer(f"no row in the answer ({error!r}): {answer[:200]!r}") from error
        if row.shape != outputs[index].shape or not np.allclose(row, outputs[index], rtol=1e-3, atol=1e-4):
            raise WrongAnswer(f"row {index} came back as that of another, or wrong")

    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(ask, index) for index in range(len(rows))]:
            done.result()
