"""Behind a real JupyterHub: a share's token opens its model below alice's base URL, and nothing of the Hub does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import requests

from tests.helpers.waiting import until
from tests.jupyterhub.environment import INSTALL_S
from tests.jupyterhub.hub import HUB_TOKEN, Hub, hub
from tests.models import add_constant
from workbench.api import connect
from workbench.jupyter.endpoint_routes import ENDPOINT

# The first run makes the Hub's environment.
pytestmark = [pytest.mark.long, pytest.mark.timeout(INSTALL_S + 300)]

BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
INFER = "/v2/models/plus/infer"


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub whose user serves `plus`, and has shared nothing."""
    with hub(tmp_path_factory.mktemp("hub")) as found:
        model = add_constant(1.0, ("batch", "columns")).SerializeToString()
        (found.folder / "root" / "plus.onnx").write_bytes(model)
        found.panel("models/plus/load", {"path": "plus.onnx"})
        yield found


def call(url: str, token: str | None = None, session: requests.Session | None = None) -> requests.Response:
    """One inference, by a client that follows no redirect to a login page."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    asked = requests.Session() if session is None else session
    return asked.post(url + INFER, json=BODY, headers=headers, timeout=60, allow_redirects=False)


def test_a_teammate_with_the_link_calls_the_model_through_the_hub(alice: Hub) -> None:
    url = alice.server + ENDPOINT
    browser = alice.login()
    assert browser.cookies, "the login has left none"

    # Nothing is shared yet, not for alice herself either.
    for token, session in ((None, None), (HUB_TOKEN, None), (None, browser)):
        refused = call(url, token, session)
        assert (refused.status_code, "nothing is shared" in refused.text) == (404, True), refused.text

    link = alice.panel("shares", {"models": ["plus"], "label": "team-a"})["link"]
    address, _, code = link.partition("#")
    assert address == f"{url}/share/claim", "the link names alice's server as JupyterHub publishes it"

    def opened() -> requests.Response | None:
        """It is open within a quarter of a second of the first share."""
        page = requests.get(address, timeout=60, allow_redirects=False)
        return page if page.status_code == 200 else None

    page = until(opened)
    assert page is not None
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Get the token" in page.text and not page.cookies
    for part in ("js", "css"):
        assert requests.get(f"{address}.{part}", timeout=60, allow_redirects=False).status_code == 200
    given = requests.post(address, json={"code": code}, timeout=60).json()
    token = given["token"]
    assert given["url"] == url
    assert requests.post(address, json={"code": code}, timeout=60).status_code == 404, "a code works once"

    answer = call(url, token)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == [2.0, 3.0, 4.0, 5.0]
    assert not answer.cookies
    with connect(url, token) as wb:
        assert np.array_equal(wb["plus"](np.ones((2, 4), np.float32)), np.full((2, 4), 2, np.float32))
    document = requests.get(f"{url}/openapi.json", headers={"Authorization": f"Bearer {token}"}, timeout=60).json()
    assert document["servers"][0]["url"] == url

    # Neither what the Hub gives out nor alice's own browser stands for the token of a share.
    for wrong, session in ((None, None), (HUB_TOKEN, None), (None, browser)):
        refused = call(url, wrong, session)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")

    # The token of the share opens nothing else of the Hub's or of alice's server.
    for path in (
        f"{alice.server}api/contents",
        f"{alice.server}infer-workbench/api/models",
        f"{alice.url}hub/api/users",
    ):
        for scheme in ("Bearer", "token"):
            headers = {"Authorization": f"{scheme} {token}"}
            assert requests.get(path, headers=headers, timeout=60, allow_redirects=False).status_code in (302, 403)
    assert call(f"{alice.url}user/bob/{ENDPOINT}", token).status_code == 403, "the Hub's, while no server of bob's runs"

    by = {each["label"]: each for each in alice.panel("shares")}
    assert by["team-a"]["answered"] == 2
    with alice.owner() as wb:
        (claim,) = [each for each in wb.audit() if each.action == "claim" and each.outcome == "ok"]
    assert claim.way == "jupyter"

    share = by["team-a"]["id"]
    revoked = requests.delete(
        f"{alice.server}infer-workbench/api/shares/{share}", headers={"Authorization": f"token {HUB_TOKEN}"}, timeout=60
    )
    assert revoked.status_code == 200, revoked.text

    def closed() -> bool:
        status = call(url, token).status_code
        assert status in (401, 404)
        return status == 404

    until(closed)
    assert token not in alice.log and code not in alice.log
