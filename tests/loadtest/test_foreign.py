"""Load tests of a server that is not ours, over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.loadtest.foreign import VERSION, Foreign
from workbench.errors import ExecutionError, InvalidInput, NotFound, WorkbenchError
from workbench.loadtest.job import start
from workbench.loadtest.patterns import Constant, Users
from workbench.loadtest.plan import Inputs, Plan, Target
from workbench.loadtest.store.recording import Recording

END_S = 60.0
X = np.ones((20, 4), np.float32)
BODY = {
    "inputs": [
        {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"content_type": "np"}, "data": [1, 2, 3, 4]}
    ]
}


@pytest.fixture(scope="module")
def running() -> Iterator[Foreign]:
    with Foreign() as foreign:
        yield foreign


@pytest.fixture
def foreign(running: Foreign) -> Foreign:
    running.seen.clear()
    return running


@pytest.fixture(params=["http", "grpc"])
def url(foreign: Foreign, request: pytest.FixtureRequest) -> str:
    found: str = getattr(foreign, request.param)
    return found


def plan(url: str, model: str, inputs: Inputs | None = None, version: str | None = None) -> Plan:
    target = Target(model, url, version)
    return Plan(target, Constant(50), inputs or Inputs(), duration_s=0.2, warm_up_s=0.0)


def recorded(*words: object) -> Recording:
    return start(plan(*words)).result(END_S)  # type: ignore[arg-type]


def test_inputs_are_made_up_by_what_the_server_says_and_all_are_answered(url: str, foreign: Foreign) -> None:
    found = recorded(url, "declared", Inputs(rows=3))
    assert found.rows.counts() == {"ok": 10}
    assert found.rows.data["rows"].tolist() == [3] * 10
    assert {(each["name"], *each["shape"]) for (each,) in foreign.seen} == {("x", 3, 4)}
    assert found.target["server"]["name"] == "mlserver" and found.target["server"]["version"] == "1.7.1"


def test_users_are_served_as_well(url: str) -> None:
    found = start(Plan(Target("declared", url), Users(2), duration_s=0.2, warm_up_s=0.0)).result(END_S)
    assert set(found.rows.counts()) == {"ok"}


def test_a_version_may_be_a_word(foreign: Foreign) -> None:
    assert recorded(foreign.http, "declared", None, VERSION).rows.counts() == {"ok": 10}
    with pytest.raises(NotFound, match="declared not found"):
        recorded(foreign.http, "declared", None, "v9")
    with pytest.raises(InvalidInput, match="version must consist of"):
        recorded(foreign.http, "declared", None, "../../v1")


def test_a_model_of_which_nothing_is_said_takes_inputs_by_name(url: str, foreign: Foreign) -> None:
    found = recorded(url, "plain", Inputs("rows", 2, {"x": X}))
    assert found.rows.counts() == {"ok": 10}
    assert {(each["name"], each["datatype"], *each["shape"]) for (each,) in foreign.seen} == {("x", "FP32", 2, 4)}


def test_inputs_by_name_may_be_text_and_need_not_share_rows(foreign: Foreign) -> None:
    with pytest.raises(ExecutionError, match=r"fails with these inputs, so nothing was run: .* BYTES"):
        recorded(foreign.http, "plain", Inputs("rows", 1, {"x": ["a", "b"], "y": [[1.5]], "z": 3.0}))
    assert [(each["datatype"], each["shape"]) for each in foreign.seen[0]] == [
        ("BYTES", [2]), ("FP64", [1, 1]), ("FP64", [])
    ]  # fmt: skip


def test_a_request_of_the_protocol_is_sent_as_it_is(url: str, foreign: Foreign) -> None:
    for model in ("plain", "declared"):
        assert recorded(url, model, Inputs("requests", 1, [BODY])).rows.counts() == {"ok": 10}
    assert {each["parameters"]["content_type"] for (each,) in foreign.seen} == {"np"}


def test_inputs_may_have_the_protocols_form_and_are_sampled(url: str, foreign: Foreign) -> None:
    data = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": list(range(8))}]}
    assert recorded(url, "plain", Inputs("rows", 3, data)).rows.counts() == {"ok": 10}
    assert {tuple(each["shape"]) for (each,) in foreign.seen} == {(3, 4)}
    with pytest.raises(InvalidInput, match="give them as requests"):
        recorded(url, "plain", Inputs("rows", 1, BODY))


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        ("plain", None, r"does not say what 'plain' takes; give inputs by name, as \{\"x\": "),
        ("plain", Inputs("rows", 1, X), "does not say what 'plain' takes"),
        ("plain", Inputs("requests", 1, [{"x": X}, X]), "request 2 of 2: .* does not say"),
        ("plain", Inputs("rows", 1, {"x": X.astype("f8")}), "'plain' fails with these inputs, so nothing was run: "),
        ("declared", Inputs("rows", 1, np.ones((2, 5), "f4")), "axis 1 takes 4"),
        ("declared", Inputs("requests", 1, [{"inputs": [{**BODY["inputs"][0], "name": "z"}]}]), "missing: 'x'"),
        ("declared", Inputs("requests", 1, [{"inputs": [{**BODY["inputs"][0], "data": [1]}]}]), "request 1 of 1: "),
        ("nobody", None, "Model nobody .*not found"),
    ],
)
def test_what_cannot_be_run_is_said_before_the_test(url: str, model: str, inputs: Inputs | None, said: str) -> None:
    with pytest.raises(WorkbenchError, match=said):
        recorded(url, model, inputs)


def test_what_is_no_server_of_the_protocol_is_told_apart(foreign: Foreign) -> None:
    with pytest.raises(WorkbenchError, match="does not answer"):
        recorded(foreign.grpc.replace("grpc", "http"), "declared")
    with pytest.raises(WorkbenchError, match="does not answer"):
        recorded(foreign.http.replace("http", "grpc"), "declared")
