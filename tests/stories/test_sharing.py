"""An owner shares a model, and a teammate who knows only the link calls it, over a death of the service."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

import workbench
from tests.helpers.waiting import until
from tests.models import add_constant
from tests.stories.actors import kill, running
from workbench.api import Workbench
from workbench.client.shared_service import SharedService
from workbench.errors import Conflict, Forbidden, InvalidInput, ModelNotFound, NotFound, Unauthenticated

ROW = np.zeros((1, 4), np.float32)


def redeemed(link: str) -> dict[str, Any]:
    """What the button behind the link does."""
    url = urlsplit(link)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    connection.request("POST", url.path, json.dumps({"code": url.fragment}), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    given: dict[str, Any] = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, given
    return given


@contextmanager
def clients(http_address: str, grpc_address: str, token: str, name: str) -> Iterator[list[Callable[[str], Any]]]:
    """Triton's two clients, each as a function from a model to its answer for ROW on a kept connection."""

    def way(module: Any, client: Any) -> Callable[[str], Any]:
        tensor = module.InferInput(name, list(ROW.shape), "FP32")
        tensor.set_data_from_numpy(ROW)
        output = module.InferRequestedOutput("y")

        def infer(model: str) -> Any:
            headers = {"authorization": f"Bearer {token}"}  # its own dict: the HTTP client adds to it
            return client.infer(model, [tensor], outputs=[output], headers=headers).as_numpy("y").tolist()

        return infer

    with (
        triton_http.InferenceServerClient(http_address) as over_http,
        triton_grpc.InferenceServerClient(grpc_address) as over_grpc,
    ):
        yield [way(triton_http, over_http), way(triton_grpc, over_grpc)]


def test_a_teammate_connects_with_the_token_of_a_share(wb: Workbench) -> None:
    wb.load("other", add_constant(2.0))
    share = wb.share("plus", label="team-b", rate="6/min", show_token=True)
    with workbench.connect(share.url, share.token) as theirs:
        np.testing.assert_array_equal(theirs["plus"](ROW)["y"], ROW + 1)
        mine = wb["plus"].status
        status = theirs["plus"].status
        assert (status.signature, status.epoch, status.labels) == (mine.signature, mine.epoch, mine.labels)
        assert (status.version, status.max_batch_size, status.routed) == (mine.version, mine.max_batch_size, True)
        assert theirs.show("plus")["inputs"] == wb.show("plus")["inputs"]
        assert [each.name for each in theirs.models()] == ["plus"] and "other" not in theirs
        assert "plus" in repr(theirs.status())
        for call in (lambda: theirs["other"](ROW), lambda: theirs.show("other"), lambda: theirs["other"]):
            with pytest.raises(Forbidden, match="this token is not for model 'other'; it is for plus"):
                call()
        owned: list[Callable[[], object]] = [
            theirs.shares,
            theirs.logs,
            lambda: theirs.share("plus", label="team-c"),
            lambda: theirs.revoke("team-b"),
            lambda: theirs.unload("plus"),
            lambda: theirs.set("plus", max_batch=2),
            lambda: theirs.load("more", add_constant(3.0)),
            lambda: theirs.models("60s"),
        ]
        for call in owned:
            with pytest.raises(Forbidden, match="which a share of plus has not"):
                call()
        ended = wb.share("plus", label="team-d", show_token=True)
        wb.revoke(ended.id)
        with pytest.raises(Unauthenticated, match="ask whoever shared the model for another"):
            workbench.connect(ended.url, ended.token)
    for wrong in ({"rate": float("nan")}, {"expires": float("inf")}, {"row_rate": -float("inf")}):
        with pytest.raises(InvalidInput, match=f"^{next(iter(wrong))} must "):
            wb.share("plus", label="team-d", **wrong)
    wb.revoke("team-b")
    with pytest.raises(Unauthenticated):
        workbench.connect(share.url, share.token)


def test_a_teammate_who_knows_only_the_link_calls_the_model_until_it_is_revoked(
    wb: Workbench, workplace: SharedService
) -> None:
    wb.load("other", add_constant(2.0))
    share = wb.share("plus", label="team-a", rate=500, expires="7d")
    assert share.token is None and share.link.startswith(share.url)
    given = redeemed(share.link)
    token = given["token"]
    address, model_input = urlsplit(given["url"]).netloc, wb["plus"].signature.inputs[0].name
    record = running(workplace)
    assert record.worker is not None and record.grpc is not None

    with clients(address, record.grpc, token, model_input) as ways:
        assert [infer("plus") for infer in ways] == [[[1, 1, 1, 1]]] * 2
        for infer in ways:
            with pytest.raises(InferenceServerException, match="this token is not for model 'other'"):
                infer("other")
    kill(record.worker.pid)
    until(lambda: running(workplace).worker not in (None, record.worker))
    wb["plus"](ROW)  # the next worker answers
    with clients(address, record.grpc, token, model_input) as ways:
        assert [infer("plus") for infer in ways] == [[[1, 1, 1, 1]]] * 2
        (listed,) = wb.shares()
        assert (listed.label, listed.state, listed.models) == ("team-a", "holds", ("plus",))
        assert listed.requests == 2 and listed.last_seen
        wb.revoke("team-a")
        for infer in ways:
            with pytest.raises(InferenceServerException, match="revoked"):
                infer("plus")
    assert token not in repr(wb.shares()) + repr(share)
    assert not [line for line in workplace.logs(1000) if token in line or urlsplit(share.link).fragment in line]
    with pytest.raises(ModelNotFound):
        wb.share("nothing", label="b")
    again = wb.share("plus", label="team-a", show_token=True)
    assert again.token and not again.link
    with pytest.raises(Conflict):
        wb.share("plus", label="team-a")
    wb.revoke(again.id)
    with pytest.raises(NotFound):
        wb.revoke("team-a")
