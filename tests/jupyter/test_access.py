"""Who may do what: every route of the extension, walked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler
from traitlets.config import Config

from tests.helpers.jupyter_routes import routes_of
from tests.jupyter.conftest import Fetch, Socket
from workbench.jupyter.extension import InferWorkbench
from workbench.jupyter.routes import RESOURCE

METHODS = ("get", "post", "put", "patch", "delete", "head")


class Porter(Authorizer):
    """Lets everything pass but what is in `denied`."""

    denied: ClassVar[set[str]] = set()
    asked: ClassVar[list[tuple[str, str]]] = []

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return resource not in self.denied


@pytest.fixture
def jp_server_config() -> Config:
    server = {"allow_unauthenticated_access": False, "authorizer_class": Porter}
    return Config({"ServerApp": {"jpserver_extensions": {"workbench.jupyter": True}, **server}})


@pytest.fixture(autouse=True)
def porter() -> Iterator[None]:
    Porter.denied = set()
    Porter.asked = []
    yield
    Porter.denied = set()


def methods(handler: type[RequestHandler]) -> list[str]:
    return [name for name in METHODS if getattr(handler, name) is not getattr(RequestHandler, name)]


async def refusals(extension: InferWorkbench, jp_fetch: Fetch, jp_ws_fetch: Fetch, **headers: str) -> list[int]:
    """The status of every method of every route."""
    found = []
    for path, handler in routes_of(extension):
        for method in methods(handler):
            more: dict[str, Any] = {"headers": dict(headers), "method": method.upper()}
            if method in ("post", "put", "patch"):
                more["body"] = json.dumps({"path": "model.onnx"})
            with pytest.raises(HTTPClientError) as caught:
                if issubclass(handler, WebSocketHandler):
                    await jp_ws_fetch(path, headers=dict(headers))
                else:
                    await jp_fetch(path, **more)
            found.append(caught.value.code)
    return found


def test_the_walk_finds_every_route(extension: InferWorkbench) -> None:
    walked = {(path, method) for path, handler in routes_of(extension) for method in methods(handler)}
    api = f"{RESOURCE}/api"
    assert walked == {
        (f"{api}/status", "get"),
        (f"{api}/models", "get"),
        (f"{api}/models/name", "get"),
        (f"{api}/models/name/load", "post"),
        (f"{api}/models/name/unload", "post"),
        (f"{api}/models/name/set", "post"),
        (f"{api}/models/name/slowest", "get"),
        (f"{api}/models/name/try", "post"),
        (f"{api}/models/name/bench", "post"),
        (f"{api}/models/name/versions", "get"),
        (f"{api}/models/name/versions/name/unload", "post"),
        (f"{api}/models/name/rollback", "post"),
        (f"{api}/models/name/labels", "post"),
        (f"{api}/models/name/route", "post"),
        (f"{api}/models/name/rollout", "get"),
        (f"{api}/models/name/rollout", "post"),
        (f"{api}/models/name/rollout/stop", "post"),
        (f"{api}/models/name/rollout/resume", "post"),
        (f"{api}/models/name/compare/name/name", "get"),
        (f"{api}/bench", "get"),
        (f"{api}/bench/name", "get"),
        (f"{api}/bench/name/stop", "post"),
        (f"{api}/bench/name/report", "get"),
        (f"{api}/bench/name/compare/name", "get"),
        (f"{api}/load-patterns", "get"),
        (f"{api}/repository", "get"),
        (f"{api}/repository/name/load", "post"),
        (f"{api}/shares", "get"),
        (f"{api}/shares", "post"),
        (f"{api}/shares/name", "delete"),
        (f"{api}/start", "post"),
        (f"{api}/restart", "post"),
        (f"{api}/stop", "post"),
        (f"{api}/logs", "get"),
        (f"{RESOURCE}/stream", "get"),
    }


def test_no_method_is_left_without_authentication(extension: InferWorkbench) -> None:
    assert extension.serverapp is not None
    for path, handler in routes_of(extension):
        assert extension.serverapp.web_app._check_handler_auth(path, handler) == []
        for method in methods(handler):
            assert not getattr(getattr(handler, method), "__allow_unauthenticated", False)


@pytest.mark.parametrize("header", ["", "token wrong"])
async def test_without_the_servers_token_everything_is_refused(
    extension: InferWorkbench, jp_fetch: Fetch, jp_ws_fetch: Fetch, header: str
) -> None:
    assert set(await refusals(extension, jp_fetch, jp_ws_fetch, Authorization=header)) == {403}


async def test_who_is_not_authorised_is_refused_everywhere(
    extension: InferWorkbench, jp_fetch: Fetch, jp_ws_fetch: Fetch
) -> None:
    Porter.denied = {RESOURCE}
    statuses = await refusals(extension, jp_fetch, jp_ws_fetch)
    assert set(statuses) == {403}
    assert [resource for _, resource in Porter.asked] == [RESOURCE] * len(statuses)
    assert [action for action, _ in Porter.asked].count("write") == 19


@pytest.mark.parametrize(("denied", "words"), [("contents", "read this server's files"), ("kernels", "outside")])
async def test_who_may_not_read_a_file_otherwise_cannot_load_it(
    extension: InferWorkbench, jp_fetch: Fetch, tmp_path: Path, denied: str, words: str
) -> None:
    Porter.denied = {denied}
    body = json.dumps({"path": str(tmp_path / "outside.onnx")})
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch(RESOURCE, "api", "models", "m", "load", method="POST", body=body)
    assert caught.value.code == 403
    assert caught.value.response is not None
    assert words in caught.value.response.body.decode()
    assert not extension.watch.running


async def test_who_may_not_execute_code_cannot_have_a_functions_file_run(
    extension: InferWorkbench, jp_fetch: Fetch, jp_root_dir: Path
) -> None:
    (jp_root_dir / "strange.function").write_bytes(b"")
    Porter.denied = {"kernels"}
    body = json.dumps({"path": "strange.function", "allow_code": True})
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch(RESOURCE, "api", "models", "m", "load", method="POST", body=body)
    assert caught.value.code == 403
    assert caught.value.response is not None
    assert "you may not execute any" in caught.value.response.body.decode()
    assert not extension.watch.running


@pytest.fixture
async def browser(extension: InferWorkbench, jp_fetch: Fetch, jp_serverapp: Any, jp_http_port: int) -> dict[str, str]:
    """The headers that a browser adds by itself, whichever page asks."""
    token = jp_serverapp.identity_provider.token
    host = {"Authorization": "", "Host": f"localhost:{jp_http_port}"}
    answer = await jp_fetch(RESOURCE, "api", "status", params={"token": token}, headers=dict(host))
    cookies = [each.split(";")[0] for each in answer.headers.get_list("Set-Cookie")]
    assert cookies
    return {**host, "Cookie": "; ".join(cookies)}


async def test_a_page_of_another_origin_gets_no_socket(
    extension: InferWorkbench, jp_ws_fetch: Fetch, browser: dict[str, str]
) -> None:
    await Socket(await jp_ws_fetch(RESOURCE, "stream", headers=dict(browser))).close()
    with pytest.raises(HTTPClientError) as caught:
        await jp_ws_fetch(RESOURCE, "stream", headers={**browser, "Origin": "http://evil.example"})
    assert caught.value.code == 403


async def test_a_cookie_alone_changes_nothing(jp_fetch: Fetch, browser: dict[str, str]) -> None:
    """Any page of the browser could have sent it: a change needs the XSRF token of a page of ours too."""
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch(RESOURCE, "api", "stop", method="POST", body="{}", headers=dict(browser))
    assert caught.value.code == 403
    xsrf = "0123456789abcdef0123456789abcdef"
    ours = {**browser, "Cookie": f"{browser['Cookie']}; _xsrf={xsrf}", "X-XSRFToken": xsrf}
    assert (await jp_fetch(RESOURCE, "api", "stop", method="POST", body="{}", headers=ours)).code == 200


async def test_a_page_of_another_origin_reads_and_changes_nothing_on_any_route(
    extension: InferWorkbench, jp_fetch: Fetch, jp_ws_fetch: Fetch, browser: dict[str, str]
) -> None:
    """With the user's cookie, as a browser adds it, and without the XSRF token, which such a page cannot read."""
    statuses = await refusals(extension, jp_fetch, jp_ws_fetch, **browser, Origin="http://evil.example")
    assert set(statuses) == {403, 404}
    assert Porter.asked == [(action, resource) for action, resource in Porter.asked if action == "read"]
