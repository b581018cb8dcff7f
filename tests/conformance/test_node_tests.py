"""The node tests of the onnx package through the service: as they are, and with their first axis made free.

A freed test is a model of rows. 16 callers send a row each at once, with default settings, and each must get what
ONNX Runtime gives for that row alone, whether the model is batched or not.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.node_tests import FreedTest, NodeTest, free_axis, modules, node_tests
from tests.helpers.row_truth import BareModel, nearly_equal, rows_of, variations
from tests.helpers.service_process import Serve
from workbench.core.messages import InferRequest
from workbench.core.tensor import datatype_of
from workbench.engine import Engine
from workbench.errors import WorkbenchError
from workbench.graph.batch_axis import analyse
from workbench.protocols.binary import bytes_from_array
from workbench.protocols.oip_json import decode_response
from workbench.repository.store import ModelStore

CALLERS = 16
SAMPLE = ("argmax", "cumsum", "dynamicquantizelinear", "gemm", "nonzero", "softmax", "topk", "trilu", "where")
"""Files of node tests that every change runs; `make test-long` runs all of them."""

Answers = dict[str, NDArray]


def bare_answers(test: NodeTest) -> Answers | None:
    """What ONNX Runtime alone gives; None where it does not run the test, or gives something else each time."""
    try:
        run = BareModel(test.model)
        first, again = run(test.inputs), run(test.inputs)
    except Exception:  # whatever it raises, it is no test for us
        return None
    if not all(isinstance(each, np.ndarray) for each in first.values()):
        return None
    return first if all(nearly_equal(first[name], again[name]) for name in first) else None


def one_row_calls(test: FreedTest) -> list[tuple[Answers, Answers]]:
    """Rows to send with the answers of ONNX Runtime alone, without those that it refuses; none of a random model."""
    run = BareModel(test.model)
    calls = []
    for feeds, _ in variations(test.rows, seed=3, count=CALLERS // 4):
        for row in range(CALLERS // 4):
            each = rows_of(feeds, [row])
            try:
                expected, again = run(each), run(each)
            except Exception:
                continue
            if not all(nearly_equal(expected[name], again[name]) for name in expected):
                return []
            calls.append((each, expected))
    return calls


def as_sent(arrays: Answers) -> Answers:
    """Texts as bytes, as the service carries them."""
    to_bytes = np.vectorize(lambda text: text if isinstance(text, bytes) else str(text).encode(), otypes=[object])
    return {name: to_bytes(each) if each.dtype.kind in "OUS" and each.size else each for name, each in arrays.items()}


def wrong(expected: Answers, found: Answers) -> str:
    """The first output that is not as ONNX Runtime alone gave it; empty where all are."""
    expected = as_sent(expected)
    return next((name for name in expected if not nearly_equal(expected[name], found[name])), "")


@dataclass
class Tally:
    """What came of tests: how they were served, and which answers were wrong."""

    served: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def serve_rows(folder: Path, tests: Sequence[FreedTest]) -> Tally:
    tally = Tally()
    engine = Engine(ModelStore(folder / "store"))
    await engine.start()
    try:
        for test in tests:
            calls = one_row_calls(test)
            if not calls:
                tally.served["random, or no row alone"] += 1
                continue
            try:
                status = (await engine.load("model", test.model.SerializeToString())).status
            except WorkbenchError as error:
                tally.served[f"refused: {error.code}"] += 1
                continue
            tally.served[status.batch_evidence or f"unbatched, {analyse(test.model).verdict}"] += 1
            asked = [engine.infer(InferRequest("model", as_sent(feeds))) for feeds, _ in calls]
            for (_, expected), answer in zip(calls, await asyncio.gather(*asked, return_exceptions=True), strict=True):
                trouble = answer if isinstance(answer, BaseException) else wrong(expected, answer.outputs)
                if trouble:
                    tally.wrong.append(f"{test.name}: {trouble} ({status.batching})")
                    break
            await engine.unload("model")
    finally:
        await engine.close()
    return tally


def freed_tests(names: Sequence[str]) -> list[FreedTest]:
    found = [free_axis(test) for test in node_tests(names) if bare_answers(test) is not None]
    return [test for test in found if test is not None]


async def test_rows_of_some_node_tests_get_their_own_answers(tmp_path: Path) -> None:
    tests = freed_tests(SAMPLE)
    tally = await serve_rows(tmp_path, tests)
    assert not tally.wrong
    assert tally.served["proved"] >= 20 and tally.served["unbatched, dependent"] >= 10, tally.served


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_rows_of_all_node_tests_get_their_own_answers(tmp_path: Path) -> None:
    tests = freed_tests(modules())
    tally = await serve_rows(tmp_path, tests)
    print(f"{len(tests)} freed:", *(f"{count} {how}" for how, count in tally.served.most_common()), sep="\n")
    assert not tally.wrong
    assert len(tests) > 1200 and tally.served["proved"] > 1000, tally.served


class Binary:
    """The service over HTTP, with tensors in binary."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    def load(self, test: NodeTest) -> str:
        """Why it was refused; empty where it was not."""
        file = base64.b64encode(test.model.SerializeToString()).decode()
        body = {"parameters": {"file:1/model.onnx": file}}
        status, said = self._serve.call("POST", f"/v2/repository/models/{test.name}/load", body)
        return "" if status == 200 else said.decode()

    def unload(self, test: NodeTest) -> None:
        status, said = self._serve.call("POST", f"/v2/repository/models/{test.name}/unload", b"")
        assert status == 200, said

    def infer(self, test: NodeTest) -> Answers:
        inputs, parts = [], []
        for name, array in as_sent(test.inputs).items():
            datatype = datatype_of(array)
            parts.append(bytes(bytes_from_array(array, name, datatype)))
            described = {"name": name, "datatype": datatype, "shape": list(array.shape)}
            inputs.append(described | {"parameters": {"binary_data_size": len(parts[-1])}})
        head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
        status, body = self._serve.call("POST", f"/v2/models/{test.name}/infer", head + b"".join(parts), **headers)
        assert status == 200, body[:500]
        _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        return decode_response(body, None if end == len(body) else end).outputs


@pytest.fixture
def binary(tmp_path: Path) -> Iterator[Binary]:
    with Serve(tmp_path, environment={"INFER_WORKBENCH_TRIAL": "false"}) as serve:
        yield Binary(serve.ready())


def serve_as_they_are(binary: Binary, names: Sequence[str]) -> Tally:
    tally = Tally()
    for test in node_tests(names):
        expected = bare_answers(test)
        if expected is None or not test.inputs:
            continue
        if refused := binary.load(test):
            tally.served[refused] += 1
            continue
        tally.served["served"] += 1
        if name := wrong(expected, binary.infer(test)):
            tally.wrong.append(f"{test.name}: {name}")
        binary.unload(test)
    return tally


def test_some_node_tests_over_binary(binary: Binary) -> None:
    tally = serve_as_they_are(binary, ("cumsum", "gemm"))
    assert not tally.wrong
    assert tally.served["served"] >= 15, tally.served


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_all_node_tests_over_binary(binary: Binary) -> None:
    tally = serve_as_they_are(binary, modules())
    print(dict(tally.served))
    assert not tally.wrong
    assert tally.served["served"] > 1300, tally.served
