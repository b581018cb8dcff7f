"""A real JupyterHub with its proxy, and the server of its user alice; all on loopback, all below one folder."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.helpers.waiting import until
from tests.jupyterhub.environment import environment
from workbench.api import Workbench, connect
from workbench.client.shared_service import SharedService
from workbench.rendezvous.folder import rendezvous

HUB_TOKEN = "a-token-of-the-hub-for-the-tests"
PASSWORD = "a-password-of-the-tests"
START_S = 180.0

CONFIG = """\
import os

c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{public}/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}/"
c.JupyterHub.public_url = "http://127.0.0.1:{public}/"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.ConfigurableHTTPProxy.command = ["{node}", "{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.ConfigurableHTTPProxy.auth_token = "a-token-between-hub-and-proxy"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allowed_users = {{"alice", "bob"}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home"
c.Spawner.cmd = ["{python}", "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.notebook_dir = "{folder}/root"
c.Spawner.environment = {environment}
c.Spawner.http_timeout = c.Spawner.start_timeout = {start_s}
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{
    "name": "tests",
    "scopes": ["admin:users", "admin:servers", "access:servers"],
    "services": ["tests"],
}}]
"""

_INSTALLED = {
    "JUPYTER_CONFIG_PATH": str(Path(sys.prefix, "etc", "jupyter")),
    "JUPYTER_PATH": str(Path(sys.prefix, "share", "jupyter")),
    "JUPYTERLAB_DIR": str(Path(sys.prefix, "share", "jupyter", "lab")),
}
"""Extensions are enabled as they were installed, beside the tests."""


@dataclass
class Hub:
    process: subprocess.Popen[bytes]
    url: str
    """Of the public side, which is the proxy's."""
    folder: Path

    @property
    def server(self) -> str:
        """Alice's server."""
        return f"{self.url}user/alice/"

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    def api(self, method: str, path: str) -> requests.Response:
        """A call of the Hub's own API."""
        headers = {"Authorization": f"token {HUB_TOKEN}"}
        return requests.request(method, f"{self.url}hub/api/{path}", headers=headers, timeout=60)

    def panel(self, path: str, body: object = None) -> Any:
        """What alice's panel is answered: the Hub's token stands for her. GET, or POST where there is a body."""
        method = "GET" if body is None else "POST"
        headers = {"Authorization": f"token {HUB_TOKEN}"}
        answer = requests.request(
            method, f"{self.server}infer-workbench/api/{path}", json=body, headers=headers, timeout=120
        )
        assert answer.status_code == 200, f"{answer.text}\n{self.log}"
        return answer.json()

    @contextmanager
    def owner(self) -> Iterator[Workbench]:
        """The service, as a kernel of alice's sees it."""
        record = rendezvous(_places(self.folder)).read()
        assert record is not None
        with connect(record.url, record.token) as wb:
            yield wb

    def start_server(self) -> None:
        assert self.api("POST", "users/alice/server").status_code in (201, 202), self.log

        def ready() -> bool:
            assert self.process.poll() is None, self.log
            return bool(self.api("GET", "users/alice").json()["servers"].get("", {}).get("ready"))

        until(ready, START_S)

    def login(self) -> requests.Session:
        """Alice's browser after she has logged in and opened her server: it has the cookies of both."""
        browser = requests.Session()
        browser.get(f"{self.url}hub/login", timeout=60)
        fields = {"username": "alice", "password": PASSWORD, "_xsrf": browser.cookies["_xsrf"]}
        browser.post(f"{self.url}hub/login?next=/user/alice/lab", data=fields, timeout=60)
        page = browser.get(f"{self.server}api/status", timeout=60)
        assert page.status_code == 200, page.text
        return browser


@contextmanager
def hub(folder: Path) -> Iterator[Hub]:
    """Runs with alice's server; the service of hers that was started ends with it."""
    programs = environment()
    ports = dict(zip(("public", "hub", "api"), _free_ports(3), strict=True))
    for each in ("root", "home"):
        (folder / each).mkdir(exist_ok=True)
    config = folder / "jupyterhub_config.py"
    config.write_text(
        CONFIG.format(
            **ports,
            folder=folder,
            node=programs.node,
            proxy=programs.proxy,
            python=programs.python,
            password=PASSWORD,
            token=HUB_TOKEN,
            environment=_places(folder) | _INSTALLED,
            start_s=int(START_S),
        )
    )
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [str(programs.python), "-m", "jupyterhub", "-f", str(config)],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    found = Hub(process, f"http://127.0.0.1:{ports['public']}/", folder)
    try:

        def answers() -> bool:
            assert process.poll() is None, found.log
            try:
                return found.api("GET", "").status_code == 200
            except requests.ConnectionError:
                return False

        until(answers, START_S)
        found.start_server()
        yield found
    finally:
        process.send_signal(signal.SIGTERM)  # it ends alice's server and the proxy
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        SharedService(rendezvous(_places(folder)), folder).stop()


def _places(folder: Path) -> dict[str, str]:
    """Where alice's service has its folders."""
    return {
        "INFER_WORKBENCH_RUNTIME_DIR": str(folder / "runtime"),
        "INFER_WORKBENCH_DATA_DIR": str(folder / "service data"),
    }


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
