"""Models that keep state between requests, over the unmodified tritonclient, against the real service."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException

from tests.helpers import sequence_models as made
from tests.helpers.service_process import Serve, worker_of
from tests.server.triton_clients import CLIENTS, Client

PAGE = Path(__file__).parents[2] / "docs" / "sequences.md"

VALUES = [11, 7, 5, 3, 2, 0, 1]
"""As Triton's example clients send them, after a first one."""


@contextmanager
def serving(folder: Path) -> Iterator[Serve]:
    flags = "--model-repository", str(folder / "repository"), "--grpc-port", "0"
    with Serve(folder, *flags, environment={"INFER_WORKBENCH_TRIAL": "false"}) as serve:
        yield serve.ready()


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    folder = tmp_path_factory.mktemp("service")
    repository = folder / "repository"
    made.save_examples(repository)
    made.save(repository, "sums", made.accumulator(), made.config(made.control("START") + made.state()))
    with serving(folder) as serve:
        yield serve


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, serve: Serve) -> Iterator[Client]:
    client = Client(serve, request.param)
    yield client
    client.plain.close()


over_both = pytest.mark.parametrize("client", ["HTTP", "gRPC"], indirect=True)


def send(client: Client, model: str, id: int | str, value: int, **more: bool) -> int:
    given = client.given(np.array([[value]], np.int32), "INPUT")
    result = client.infer(model, [given], outputs=[client.asked("OUTPUT")], sequence_id=id, **more)
    return int(result.as_numpy("OUTPUT").item())


def sequence(client: Client, model: str, id: int | str, values: list[int]) -> list[int]:
    last = len(values) - 1
    return [
        send(client, model, id, value, sequence_start=place == 0, sequence_end=place == last)
        for place, value in enumerate(values)
    ]


def test_the_models_of_tritons_examples_answer_as_they_expect(client: Client) -> None:
    assert sequence(client, "simple_sequence", 1000, [0, *VALUES]) == [1, *VALUES]
    assert sequence(client, "simple_sequence", "e333c95a-07fc-42d2-ab16-033b1a566ed5", [20, -11]) == [21, -11]
    assert sequence(client, "simple_dyna_sequence", 1001, [100, *VALUES]) == [101, *VALUES[:-1], 1 + 1001]
    sums = np.cumsum([20, *VALUES]).tolist()
    assert sequence(client, "simple_string_dyna_sequence", "1002", [20, *VALUES]) == [*sums[:-1], sums[-1] + 1002]


def test_a_share_has_sequences_of_its_own_ids_of_any_kind(serve: Serve) -> None:
    asked = {"models": ["simple_dyna_sequence", "sums"], "label": "team-a", "show_token": True}
    share = json.loads(serve.call("POST", "/control/shares", asked)[1])["token"]

    def step(token: str, model: str, id: int, value: int, start: bool = False, end: bool = False) -> Any:
        x = {"name": "INPUT", "datatype": "INT32", "shape": [1, 1], "data": [value]}
        sent = {
            "inputs": [x],
            "outputs": [{"name": "OUTPUT"}],
            "parameters": {"sequence_id": id, "sequence_start": start, "sequence_end": end},
        }
        status, answer = serve.call(
            "POST", f"/v2/models/{model}/infer", sent, Authorization=f"Bearer {token}", Connection="close"
        )
        return json.loads(answer)["outputs"][0]["data"][0] if status == 200 else json.loads(answer)["error"]

    # The model is told the id as its caller says it, and adds it at the end.
    assert [
        step(share, "simple_dyna_sequence", 7, 100, start=True),
        step(share, "simple_dyna_sequence", 7, 1, end=True),
    ] == [101, 1 + 7]
    assert step(serve.token, "sums", 7, 1000, start=True) == 1000
    assert "START" in step(share, "sums", 7, 1)
    assert step(share, "sums", 7, 5, start=True) == 5
    assert (step(serve.token, "sums", 7, 1, end=True), step(share, "sums", 7, 1, end=True)) == (1001, 6)
    assert serve.call("DELETE", "/control/shares/team-a")[0] == 200


@over_both
def test_errors_are_in_tritons_words(client: Client) -> None:
    with pytest.raises(InferenceServerException, match="'sums' must specify a non-zero or non-empty correlation ID"):
        client.infer("sums", [client.given(np.array([[1]], np.int32), "INPUT")])
    with pytest.raises(
        InferenceServerException, match="sequence 77 to model 'sums' must specify the START flag on the first"
    ):
        send(client, "sums", 77, 1)
    with pytest.raises(
        InferenceServerException, match="must specify batch-size 1 due to requirements of sequence batcher"
    ):
        client.infer("sums", [client.given(np.ones((2, 1), np.int32), "INPUT")], sequence_id=7, sequence_start=True)


def test_sequences_of_one_stream_run_side_by_side_and_each_in_order(serve: Serve) -> None:
    answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    expected: list[tuple[str, int]] = []
    with tritonclient.grpc.InferenceServerClient(serve.grpc) as client:
        client.start_stream(
            lambda result, error: answers.put((result, error)), headers={"authorization": f"Bearer {serve.token}"}
        )
        for place in range(20):  # all at once, without waiting
            for id in (1, 2, "three"):
                value = np.array([[place + len(str(id))]], np.int32)
                tensor = tritonclient.grpc.InferInput("INPUT", [1, 1], "INT32")
                tensor.set_data_from_numpy(value)
                where = {"sequence_id": id, "sequence_start": place == 0, "sequence_end": place == 19}
                client.async_stream_infer("sums", [tensor], request_id=f"{id}.{place}", **where)
                expected.append((f"{id}.{place}", len(str(id)) * (place + 1) + sum(range(place + 1))))
        for name, value in expected:
            result, error = answers.get(timeout=60)
            assert error is None, error
            assert (result.get_response().id, result.as_numpy("OUTPUT").item()) == (name, value)


@over_both
def test_its_configuration_says_what_a_client_needs_to_know(client: Client) -> None:
    config = client.read("model_config", "simple_string_dyna_sequence")
    batching = config["sequence_batching"]
    assert batching["oldest"]["max_candidate_sequences"] == 1024
    assert batching["max_sequence_idle_microseconds"] == 10_000_000
    assert [each["name"] for each in batching["control_input"]] == ["START", "END", "CORRID"]
    assert batching["state"][0]["input_name"] == "STATE"
    assert [each["name"] for each in config["input"]] == ["INPUT"] and "dynamic_batching" not in config
    assert {"sequence", "sequence(string_id)"} <= set(client.read("server_metadata")["extensions"])


SENT = {
    "max_batch_size": 4,
    "sequence_batching": {
        "max_sequence_idle_microseconds": "60000000",
        "oldest": {"max_candidate_sequences": 3},
        "control_input": [
            {"name": "START", "control": [{"kind": "CONTROL_SEQUENCE_START", "int32_false_true": [0, 1]}]}
        ],
        "state": [{"input_name": "STATE", "output_name": "NEW", "data_type": "TYPE_INT32", "dims": ["1"]}],
    },
    "parameters": {"infer_workbench.runners": {"string_value": "latency"}},
}
"""A configuration that is sent with a model, as JSON."""


@over_both
def test_a_configuration_can_be_sent_with_its_model(client: Client) -> None:
    files = {"file:1/model.onnx": made.accumulator().SerializeToString()}
    client.load_model("sent", config=json.dumps(SENT), files=files)
    assert sequence(client, "sent", 5, [3, 4]) == [3, 7]
    assert client.read("model_config", "sent")["sequence_batching"]["oldest"]["max_candidate_sequences"] == 3
    client.unload_model("sent")


@over_both
def test_a_configuration_can_be_sent_back_as_it_was_told(client: Client, serve: Serve) -> None:
    config = client.read("model_config", "sums")
    client.load_model("sums", config=json.dumps({"sequence_batching": config["sequence_batching"]}))
    assert not said_of_config(serve)
    client.load_model("sums", config=json.dumps({"sequence_batching": {"oldest": {}}}))
    assert "sequence_batching is honoured in a config.pbtxt" in said_of_config(serve)
    assert sequence(client, "sums", 5, [3, 4]) == [3, 7]
    client.load_model("sums")


def said_of_config(serve: Serve) -> str:
    _, body = serve.call("GET", "/control/models/sums")
    return " ".join(note for note in json.loads(body)[0]["notes"] if "sent with its load" in note)


def test_the_example_of_the_docs_runs(serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, example = re.findall(r"```(?:python)?\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    folder = made.save(tmp_path, "tracker", made.tracker(), config)
    status, body = serve.call("POST", "/control/models/tracker/load", {"path": str(folder)})
    assert status == 200, body
    exec(example.replace("127.0.0.1:8080", serve.address), {"token": serve.token})  # noqa: S102
    rows = np.array([line.strip("[] ").split() for line in capsys.readouterr().out.splitlines()], float)
    assert rows.shape == (3, 4) and (np.floor(rows) == [[1], [2], [3]]).all(), rows


def test_metrics_and_status_count_sequences(serve: Serve) -> None:
    client = Client(serve, "HTTP")
    sequence(client, "sums", 21, [1, 2])
    assert send(client, "sums", 22, 1, sequence_start=True) == 1
    assert send(client, "sums", 22, 2, sequence_start=True) == 2
    _, body = serve.call("GET", "/control/models/sums")
    told = json.loads(body)[0]["sequences"]
    assert told["active"] >= 1 and told["restarted"] >= 1 and told["state_bytes"] >= 4
    _, text = serve.call("GET", "/metrics")
    found = {
        (sample.name, sample.labels.get("reason")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.labels.get("model") == "sums" and "sequence" in sample.name
    }
    assert found == {
        ("infer_sequences_active", None): told["active"],
        ("infer_sequences_backlog", None): 0,
        ("infer_sequence_state_bytes", None): told["state_bytes"],
        ("infer_sequences_started_total", None): told["started"],
        ("infer_sequences_over_total", "end"): told["ended"],
        ("infer_sequences_over_total", "idle"): told["dropped"],
        ("infer_sequences_over_total", "restart"): told["restarted"],
        ("infer_sequence_failures_total", None): told["failed"],
    }
    assert send(client, "sums", 22, 3, sequence_end=True) == 5


def test_sequences_end_with_the_process_that_kept_them(tmp_path: Path) -> None:
    text = made.config(made.control("START") + made.state())
    made.save(tmp_path / "repository", "sums", made.accumulator(), text)
    with serving(tmp_path) as serve:
        client = Client(serve, "HTTP")
        assert send(client, "sums", 5, 3, sequence_start=True) == 3
        assert send(client, "sums", 5, 4) == 7
        files = {"file:1/model.onnx": made.accumulator().SerializeToString()}
        client.load_model("sent", config=json.dumps(SENT), files=files)
        worker_of(serve).send_signal(signal.SIGKILL)
        serve.until("the worker was killed by signal 9")
        serve.ready()
        client = Client(serve, "HTTP")
        with pytest.raises(InferenceServerException, match="sequence 5 to model 'sums' must specify the START flag"):
            send(client, "sums", 5, 5)
        assert send(client, "sums", 5, 5, sequence_start=True) == 5
        assert sequence(client, "sent", 5, [3, 4]) == [3, 7]  # it was restored with its configuration
