"""Clients written by others: grpc and h2 in every run; node, curl, nghttp and h2load with the marker `long`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import h2.config
import h2.connection
import h2.events
import h2.settings
import numpy as np
import pytest

from tests.http2.raw import LIMIT_S, message, messages
from tests.http2.service import INFER, head, inference
from workbench.protocols.oip_grpc import decode_response

X = [[1.0, 2.0, 3.0]]


def checked(body: bytes) -> None:
    (content,) = messages(body)
    assert decode_response(content).outputs["y"].tolist() == X


def run(*command: str, given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    return done.stdout


def fields_as(option: str, token: str) -> list[str]:
    """The fields of a call that are no pseudo headers, as options of a program."""
    fields = [(name.decode(), value.decode()) for name, value in head(INFER, token=token) if name[:1] != b":"]
    return [part for name, value in fields for part in (option, f"{name}: {value}")]


def program(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found, f"{name} is not installed; on Debian: apt-get install nghttp2-client curl nodejs"
    return found


def test_grpc_s_own_client(address: str, token: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(INFER.decode())
        answer, done = call.with_call(
            inference(X), metadata=[("authorization", f"Bearer {token}"), ("x-request-id", "mine")], timeout=LIMIT_S
        )
        assert decode_response(answer).outputs["y"].tolist() == X
        assert dict(done.trailing_metadata())["x-request-id"] == "mine"
        under_way = [
            call.future(inference([[float(each)]]), metadata=[("authorization", f"Bearer {token}")], timeout=LIMIT_S)
            for each in range(200)
        ]
        assert [decode_response(each.result()).outputs["y"].item() for each in under_way] == list(range(200))


@pytest.mark.parametrize("table", [0, 4096, 65536])
def test_h2(address: str, token: str, table: int) -> None:
    """A client that holds its server to the rules by the acknowledged settings, with a table of its own size."""
    big = np.arange(200_000, dtype=np.float32).reshape(2, -1)
    host, _, port = address.rpartition(":")
    mine = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    mine.local_settings.header_table_size = table
    mine.initiate_connection()
    with socket.create_connection((host, int(port)), LIMIT_S) as raw:
        raw.sendall(mine.data_to_send())

        def read() -> list[h2.events.Event]:
            content = raw.recv(1 << 16)
            assert content, "the connection was closed"
            events = mine.receive_data(content)
            for event in events:
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    mine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            raw.sendall(mine.data_to_send())
            return events

        for turn in range(4):
            stream = mine.get_next_available_stream_id()
            mine.send_headers(stream, head(INFER, token=token))
            rest, events = message(inference(big + turn)), []
            while rest:
                room = min(mine.local_flow_control_window(stream), mine.max_outbound_frame_size, len(rest))
                if room:
                    mine.send_data(stream, rest[:room], end_stream=room == len(rest))
                    raw.sendall(mine.data_to_send())
                    rest = rest[room:]
                else:
                    events += read()
            while not any(isinstance(event, h2.events.StreamEnded) for event in events):
                events += read()
            body = b"".join(event.data for event in events if isinstance(event, h2.events.DataReceived))
            (content,) = messages(body)
            assert np.array_equal(decode_response(content).outputs["y"], big + turn)
            (trailers,) = [event.headers for event in events if isinstance(event, h2.events.TrailersReceived)]
            assert (b"grpc-status", b"0") in trailers


_NODE = """
const [address, path, given, fields] = JSON.parse(require("fs").readFileSync(0));
const client = require("http2").connect("http://" + address);
const call = client.request({ ":method": "POST", ":path": path, ...fields });
const parts = [], said = {};
call.on("response", (headers) => (said.headers = headers));
call.on("trailers", (trailers) => (said.trailers = trailers));
call.on("data", (part) => parts.push(part));
call.on("end", () => {
  said.body = Buffer.concat(parts).toString("base64");
  console.log(JSON.stringify(said));
  client.close();
});
call.end(Buffer.from(given, "base64"));
"""


@pytest.mark.long
def test_node(address: str, token: str) -> None:
    fields = {name.decode(): value.decode() for name, value in head(INFER, token=token) if name[:1] != b":"}
    given = [address, INFER.decode(), base64.b64encode(message(inference(X))).decode(), fields]
    told = json.loads(run(program("node"), "-e", _NODE, given=json.dumps(given).encode()))
    assert told["headers"][":status"] == 200
    assert told["trailers"]["grpc-status"] == "0"
    checked(base64.b64decode(told["body"]))


@pytest.mark.long
def test_curl(address: str, token: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    options = ["--silent", "--http2-prior-knowledge", "--data-binary", "@-", "--dump-header", str(said)]
    url = f"http://{address}{INFER.decode()}"
    checked(run(program("curl"), *options, *fields_as("-H", token), url, given=message(inference(X))))
    assert "grpc-status: 0" in said.read_text()


@pytest.mark.long
@pytest.mark.parametrize("more", [[], ["--header-table-size=0"], ["--window-bits=2"]])
def test_nghttp(address: str, token: str, more: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(message(inference(X)))
    given = f"--data={tmp_path / 'message'}"
    checked(run(program("nghttp"), given, *more, *fields_as("-H", token), f"http://{address}{INFER.decode()}"))


@pytest.mark.long
@pytest.mark.parametrize(
    "more", [[], ["--header-table-size=0"], ["--encoder-header-table-size=0"], ["--window-bits=2"]]
)
def test_h2load(address: str, token: str, more: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(message(inference(X)))
    command = [program("h2load"), "-n", "600", "-c", "3", "-m", "20", f"--data={tmp_path / 'message'}", *more]
    told = run(*command, *fields_as("-H", token), f"http://{address}{INFER.decode()}").decode()
    assert "600 succeeded, 0 failed, 0 errored, 0 timeout" in told, told
    assert "600 2xx" in told
