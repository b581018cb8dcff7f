"""Each case of cases.json, over each way that it is for; and the table that is made from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests import models
from tests.conformance.cases import NOT_SERVED, TRANSPORTS, Case, cases
from tests.conformance.table import PAGE, written
from tests.conformance.transports import Grpc, Http, Process, array_of
from tests.helpers import sequence_models
from tests.helpers.service_process import Serve
from workbench.core.messages import InferResponse
from workbench.core.tensor import DTYPES, datatype_of
from workbench.errors import WorkbenchError
from workbench.protocols.status_codes import HTTP_STATUS

CASES = cases()
MODELS = {
    **{datatype.lower(): models.identity(datatype) for datatype in DTYPES if datatype != "BF16"},
    "bf16": models.bfloat16_cast(),
    "two": models.two_in_two_out(),
    "scalar": models.scalar(),
    "fixed": models.fixed_batch(),
    "lookup": models.lookup(),
}


@dataclass
class Ways:
    http: Http
    grpc: Grpc
    process: Process

    def infer(self, transport: str, case: Case) -> InferResponse:
        ways = {"json": self.http.json, "binary": self.http.binary, "grpc": self.grpc.infer}
        return ways.get(transport, self.process.infer)(case)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("conformance")
    repository = folder / "repository"
    for name, model in MODELS.items():
        models.save(model, repository / name / "1" / "model.onnx")
        if name != "fp32":  # nothing of them is measured, so that they load at once
            (repository / name / "model.toml").write_text("batching = 'never'\nrunners = 'latency'\n")
    sequences = sequence_models.config(sequence_models.control("START") + sequence_models.state())
    sequence_models.save(repository, "sums", sequence_models.accumulator(), sequences)
    environment = {"INFER_WORKBENCH_TRIAL": "false"}
    with Serve(folder, "--model-repository", str(repository), environment=environment) as serve:
        serve.ready()
        ways = Ways(Http(serve), Grpc(serve), Process(folder, repository))
        ways.process.start([*MODELS, "sums"])
        yield ways
        ways.process.close()
        ways.grpc.close()


@pytest.mark.parametrize(
    ("transport", "case"),
    [
        pytest.param(transport, case, id=f"{case.feature}: {case.name}, {transport}")
        for case in CASES
        for transport in case.over
    ],
)
def test_a_case(transport: str, case: Case, ways: Ways) -> None:
    expect = case.expected(transport)
    if transport == "http":
        status, body = ways.http.call(case)
        assert status == expect.get("status", HTTP_STATUS[expect["error"]] if "error" in expect else 200), body
        if "error" in expect:
            assert set(json.loads(body)) == {"error", "code"} and json.loads(body)["code"] == expect["error"]
        if "body" in expect:
            holds(json.loads(body), expect["body"])
    elif "error" in expect:
        with pytest.raises(WorkbenchError) as caught:
            ways.grpc.call(case) if transport == "rpc" else ways.infer(transport, case)
        assert caught.value.code == expect["error"], caught.value.message
        assert expect.get("says", "") in caught.value.message
    elif transport == "rpc":
        holds(ways.grpc.call(case), expect["body"])
    else:
        answer = ways.infer(transport, case)
        assert (answer.model, answer.id) == (case.model, case.request.get("id", ""))
        assert list(answer.outputs) == [tensor["name"] for tensor in expect["outputs"]]
        for tensor in expect["outputs"]:
            found = answer.outputs[tensor["name"]]
            assert datatype_of(found) == tensor["datatype"]
            np.testing.assert_array_equal(found, array_of(tensor))


def holds(found: Any, expected: Any) -> None:
    """`found` has all that `expected` has; of a list, each element somewhere."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        for name, value in expected.items():
            assert name in found, name
            holds(found[name], value)
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict):
        for each in expected:
            assert any(all(item.get(name) == value for name, value in each.items()) for item in found), each
    else:
        assert found == expected


def test_the_cases_are_well_formed() -> None:
    names = [(case.feature, case.name) for case in CASES]
    assert len(set(names)) == len(names)
    for case in CASES:
        assert case.over and set(case.over) <= set(TRANSPORTS) and set(case.but) <= set(case.over)
        for transport in case.over:
            expect = case.expected(transport)
            assert not case.absent(transport) or expect["error"] in NOT_SERVED


def test_the_table_in_the_docs_is_made_from_the_cases() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "python -m tests.conformance.table"
