"""What is left of tokens after a share's whole life, over all ways in: nothing outside the files that keep them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import psutil
import pytest

from tests.helpers.jupyter_process import JupyterProcess, jupyter_process
from tests.helpers.waiting import until
from workbench.api import connect
from workbench.client.shared_service import SharedService
from workbench.jupyter.endpoint_routes import ENDPOINT
from workbench.protocols import pb

BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
KEEP = {"service.json", "token"}
"""The files that hold the owner's token."""


@pytest.fixture
def server(workplace: SharedService, tmp_path: Path) -> Iterator[JupyterProcess]:
    with jupyter_process(tmp_path, "--debug") as server:
        yield server


def call(url: str, method: str = "GET", body: object = None, **headers: str) -> tuple[int, str]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=60)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    path = where.path + (f"?{where.query}" if where.query else "")
    connection.request(method, path, body if isinstance(body, str) else json.dumps(body) if body else None, sent)
    answer = connection.getresponse()
    said = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, said


def over_grpc(address: str, token: str) -> str:
    """The error of a call that no token opens."""
    metadata = (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary(f"/{pb.SERVICE}/RepositoryModelLoad")(b"", metadata=metadata, timeout=60)
    return str(failed.value)


def traces(folder: Path, secrets: dict[str, str]) -> list[str]:
    """Each file below `folder` that holds one of the secrets, and which."""
    found = []
    for path in (each for each in folder.rglob("*") if each.is_file()):
        read = path.read_bytes()
        for name, secret in secrets.items():
            if secret.encode() in read and not (name == "owner's token" and path.name in KEEP):
                found.append(f"{path.relative_to(folder)}: {name}")
    return found


def lines_of_processes(folder: Path) -> str:
    """Command lines and environments of what runs on files below `folder`, as `ps` shows them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            text = " ".join([*process.cmdline(), *(f"{k}={v}" for k, v in process.environ().items())])
            if str(folder) in text and process.pid != os.getpid():
                found.append(text)
    assert len(found) >= 3, "the Jupyter server, the keeper and the worker"
    return "\n".join(found)


def test_no_token_is_left_in_a_log_an_error_a_database_or_a_line_of_ps(
    server: JupyterProcess, workplace: SharedService, tmp_path: Path
) -> None:
    server.ask("infer-workbench/api/models/plus/load", {"path": "plus.onnx"})
    record = workplace.record()
    assert record is not None and record.grpc is not None and record.worker is not None
    endpoint = server.url + ENDPOINT
    secrets = {"owner's token": record.token}
    said: list[str] = []

    def share(label: str, *flags: str) -> str:
        command = [sys.executable, "-m", "workbench", "share", "plus", "--with", label, *flags]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        said.append(ran.stderr)
        return ran.stdout

    # Made, in each way, and redeemed.
    shown = share("shown", "--show-token")
    secrets["shown"] = shown.splitlines()[-1].strip()
    said.append(shown.replace(secrets["shown"], "", 1))
    share("env", "--as-env", "team.env", "--rate", "1/min")
    secrets["env"] = (tmp_path / "team.env").read_text().partition("INFER_TOKEN=")[2].strip()
    (tmp_path / "team.env").unlink()
    with connect() as wb:
        by_link = wb.share("plus", label="link")
        secrets["code"] = by_link.link.partition("#")[2]
        for attempt in ("first", "again"):
            status, given = call(f"{endpoint}/share/claim", "POST", {"code": secrets["code"]})
            if attempt == "first":
                secrets["link"] = json.loads(given)["token"]
            else:
                assert status == 404
                said.append(given)
        said += [repr(by_link).replace(secrets["code"], "", 1), repr(wb.shares()), wb.shares()._repr_html_()]
        said.append(repr(wb.audit()))
    assert all(len(each) > 40 for each in secrets.values())

    def use() -> None:
        """Right, wrong, and in places where no token belongs."""
        here = workplace.record()
        assert here is not None and here.grpc is not None
        for name, token in secrets.items():
            for base in (here.url, endpoint):
                tries: list[tuple[str, str, Any, dict[str, str]]] = [
                    ("POST", "/v2/models/plus/infer", BODY, {}),
                    ("POST", "/v2/models/plus/infer", '{"inputs": [', {}),
                    ("POST", "/v2/models/other/infer", BODY, {}),
                    ("GET", "/control/logs", None, {}),
                    ("GET", "/v2", None, {"User_Agent": token, "X_Request_Id": token}),
                    ("GET", f"/v2?token={token}", None, {"Authorization": ""}),
                    ("GET", "/v2", None, {"Authorization": f"Basic {token}"}),
                    ("POST", "/control/shares", {"models": ["plus"], "label": "x"}, {"User_Agent": token}),
                ]
                if name == "code":  # which is used up, and looks like nothing of ours
                    tries = [each for each in tries if "User_Agent" not in each[3]]
                for method, path, body, headers in tries:
                    status, answer = call(base + path, method, body, **{"Authorization": f"Bearer {token}", **headers})
                    assert status < 500, answer
                    if name != "owner's token" or status >= 400:
                        said.append(answer)
                call(f"{base}/v2/models/{token}", Authorization=f"Bearer {token}")
            if name != "owner's token":
                said.append(over_grpc(here.grpc, token))
            call(f"{server.url}api/status", Authorization=f"token {token}")
            call(f"{server.url}api/status?token={token}")

    use()
    seen = lines_of_processes(tmp_path)
    os.kill(record.worker.pid, 9)
    now = until(lambda: (now := workplace.record()) is not None and now.worker not in (None, record.worker) and now)
    assert now and now.worker is not None
    pid = now.worker.pid

    def has_noticed() -> bool:
        """The Jupyter server; what it saw before may still say Ready, of the worker that is gone."""
        service = server.ask("infer-workbench/api/status")["service"]
        return bool(service["state"] == "Ready" and service["pid"] == pid)

    until(has_noticed)
    until(lambda: call(f"{endpoint}/v2/health/live")[0] == 200)
    with connect() as wb:
        assert wb.shares()
        use()  # the new worker knows their digests alone
        for label in ("shown", "env", "link"):
            wb.revoke(label)
        use()
        said += [repr(wb.audit()), "\n".join(wb.logs(1000))]
    seen += lines_of_processes(tmp_path)

    everything = "\n".join(said)
    assert [name for name, secret in secrets.items() if secret in everything] == []
    assert [name for name, secret in secrets.items() if secret in seen] == []
    assert traces(tmp_path, secrets) == []
    workplace.stop()
    assert traces(tmp_path, secrets) == []
    (tmp_path / "found.log").write_text(secrets["shown"])
    assert traces(tmp_path, secrets) == ["found.log: shown"]  # the search finds what is there
    (tmp_path / "found.log").unlink()
