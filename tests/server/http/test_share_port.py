"""The port for shares, opened and closed while the service runs: in this process, on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import trustme

from tests.helpers.certificates import issued
from tests.helpers.full_disk import full_disk
from tests.server.conftest import TOKEN, House
from tests.server.listening import BODY
from tests.server.share_ports import open_house_with_share_port, share_port
from workbench.server.http.share_port import SharePort, port_file

PATH = "/control/share-port"
EVERYWHERE = {"host": "0.0.0.0", "insecure": True}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house_with_share_port(tmp_path) as house:
        yield house


async def share(house: House) -> str:
    terms = {"models": ["digits"], "label": "team-a", "show_token": True}
    return str((await house.call("POST", "/control/shares", terms)).json["token"])


async def asked(
    url: str, token: str = "", body: bytes | None = None, ca_file: str = "", method: str | None = None
) -> tuple[int, str]:
    """What a caller elsewhere is answered; 0: nobody listens."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def ask() -> tuple[int, str]:
        try:
            request = urllib.request.Request(url, body, headers, method=method)
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except URLError as error:
            return 0, str(error)

    return await asyncio.to_thread(ask)


def at_loopback(opened: dict[str, Any]) -> str:
    """Its address as this machine reaches it, whatever the machine's name means."""
    return f"{opened['url'].partition(':')[0]}://127.0.0.1:{opened['port']}"


async def test_only_shares_tokens_are_taken_there_and_never_for_the_control_plane(house: House) -> None:
    token = await share(house)
    opened = (await house.call("POST", PATH, EVERYWHERE)).json
    assert "unencrypted" in opened["warning"]
    url = at_loopback(opened)

    assert (await asked(f"{url}/v2/models/digits/infer", token, BODY))[0] == 200
    assert (await asked(f"{url}/v2/models/spare/infer", token, BODY))[0] == 403
    for path, method in (("/v2/models/digits", "GET"), ("/control/models", "GET"), (PATH, "DELETE")):
        status, said = await asked(url + path, TOKEN, method=method)
        assert status == 403 and "came from another machine" in said
        assert (await asked(url + path))[0] == 401
    assert (await asked(f"{url}/control/models", token))[0] == 403
    assert (await asked(f"{url}/v2/health/live"))[0] == 200
    link = (await house.call("POST", "/control/shares", {"models": ["digits"], "label": "team-b"})).json["link"]
    assert link.startswith(f"{opened['url']}/share/claim#")


async def test_a_share_that_is_revoked_is_refused_there_too(house: House) -> None:
    token = await share(house)
    url = at_loopback((await house.call("POST", PATH, EVERYWHERE)).json)
    assert (await asked(f"{url}/v2/models/digits/infer", token, BODY))[0] == 200
    await house.call("DELETE", "/control/shares/team-a")
    assert (await asked(f"{url}/v2/models/digits/infer", token, BODY))[0] == 401


@pytest.mark.parametrize("own", [True, False])
async def test_it_is_served_with_tls(house: House, tmp_path: Path, own: bool) -> None:
    authority = trustme.CA()
    pair = issued(authority, tmp_path / "certificates")
    authority.cert_pem.write_to_path(tmp_path / "trusted.pem")
    tls = {"tls": "self-signed"} if own else {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    opened = (await house.call("POST", PATH, {"host": "0.0.0.0", **tls})).json
    assert opened["warning"] == "" and opened["url"].startswith("https://")
    trusted = opened["ca_file"] if own else str(tmp_path / "trusted.pem")
    url = f"https://localhost:{opened['port']}"
    status, said = await asked(f"{url}/openapi.json", await share(house), ca_file=trusted)
    assert status == 200 and json.loads(said)["servers"][0]["url"] == url
    assert len(opened["sha256"].split(":")) == 32


async def test_it_closes_when_it_is_told_and_comes_back_with_the_next_worker_unless_it_was(house: House) -> None:
    token = await share(house)
    opened = (await house.call("POST", PATH, EVERYWHERE)).json
    assert (await house.call("POST", PATH, {**EVERYWHERE, "port": opened["port"]})).json == opened
    first = house.service.share_port
    assert isinstance(first, SharePort)
    await first.begin_drain()
    await first.stop()
    assert (await asked(f"{at_loopback(opened)}/v2/health/live"))[0] == 0
    assert house.service.elsewhere_url == ""

    house.service.share_port = second = share_port(house)
    await second.restore()
    assert (await house.call("GET", PATH)).json == opened
    assert (await asked(f"{at_loopback(opened)}/v2/models/digits", token))[0] == 200

    assert (await house.call("DELETE", PATH)).status == 200
    assert (await asked(f"{at_loopback(opened)}/v2/health/live"))[0] == 0
    assert (await house.call("GET", PATH)).json is None
    assert (await house.call("DELETE", PATH)).status == 404
    await share_port(house).restore()
    assert house.service.elsewhere_url == ""


@pytest.mark.parametrize(
    ("terms", "status", "said"),
    [
        ({"host": "0.0.0.0"}, 400, "add --tls self-signed"),
        ({"host": "0.0.0.0", "tls": "yes"}, 400, "tls"),
        ({"host": "0.0.0.0", "tls_cert": "cert.pem"}, 400, "must be given together"),
        ({"host": "0.0.0.0", "tls": "self-signed", "tls_cert": "c", "tls_key": "k"}, 400, "contradict each other"),
        ({"host": "0.0.0.0", "tls_cert": "absent", "tls_key": "absent"}, 400, "cannot be used"),
        ({"host": ""}, 400, "needs a host"),
        ({"host": "127.0.0.1", "port": 70000}, 400, "port"),
        ({"host": "203.0.113.7", "insecure": True}, 503, "cannot listen on 203.0.113.7"),
    ],
)
async def test_what_cannot_be_opened_is_one_clear_line_and_leaves_nothing(
    house: House, terms: dict[str, object], status: int, said: str
) -> None:
    reply = await house.call("POST", PATH, terms)
    assert reply.status == status and said in reply.error and "\n" not in reply.error
    assert not port_file(house.service.config).exists()
    assert (await house.call("GET", PATH)).json is None


async def test_a_port_that_is_taken_and_a_full_disk_leave_nothing_open(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        reply = await house.call("POST", PATH, {"host": "127.0.0.1", "port": other.getsockname()[1]})
        assert reply.status == 503 and "Address already in use; give another --port" in reply.error
    with full_disk():
        reply = await house.call("POST", PATH, {"host": "127.0.0.1"})
    assert reply.status == 507 and (await house.call("GET", PATH)).json is None
    opened = (await house.call("POST", PATH, {"host": "127.0.0.1"})).json
    reply = await house.call("POST", PATH, {"host": "127.0.0.1", "tls": "self-signed"})
    assert reply.status == 409 and opened["url"] in reply.error
