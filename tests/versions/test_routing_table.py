"""The table's answers for what it does not hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.errors import ModelNotFound, Unavailable
from workbench.versions.routing_table import RoutingTable


@dataclass
class Version:
    version: str
    state: ModelState = ModelState.READY
    name: str = "m"
    got: list[InferRequest] = field(default_factory=list)

    def submit(self, request: InferRequest, promise: object, /) -> None:
        self.got.append(request)


def test_a_request_goes_to_the_version_that_it_names_or_else_to_the_routed_one() -> None:
    one, two = Version("1"), Version("2")
    table = RoutingTable([one, two], {"m": one})
    assert (table.choose("m", None), table.choose("m", "1"), table.choose("m", "2")) == (one, one, two)


def test_what_is_not_there_is_told_with_what_is() -> None:
    ready, loading = Version("2"), Version("3", ModelState.LOADING)
    table = RoutingTable([ready, loading], {}, {("m", "4"): "it broke"})
    with pytest.raises(
        Unavailable, match="no version of model 'm' is routed to, so a request has to name one; loaded: 2, 3"
    ):
        table.choose("m", None)
    with pytest.raises(Unavailable, match="model 'm' version 4 is Failed: it broke"):
        table.choose("m", "4")
    with pytest.raises(ModelNotFound, match="version 7 is not found; loaded: 2, 3"):
        table.choose("m", "7")
    with pytest.raises(Unavailable, match="no version of model 'm' is Ready yet"):
        RoutingTable([loading]).choose("m", None)
    with pytest.raises(ModelNotFound, match="'x' is not found; no model is loaded"):
        RoutingTable[Version]().choose("x", None)
