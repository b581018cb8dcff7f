"""Which version gets a call that names none: by weight, by a key, or by its own word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from workbench.core.messages import InferRequest, Parameter
from workbench.core.model import ModelState
from workbench.errors import CircuitOpen, InvalidInput, QueueFull, WorkbenchError
from workbench.versions.route_counts import Accepting, RouteCounts, Way
from workbench.versions.routing_table import RoutingTable
from workbench.versions.split_router import Split, SplitByShare
from workbench.versions.traffic_split import spread


@dataclass
class Version:
    version: str
    state: ModelState = ModelState.READY
    name: str = "m"
    refuses: WorkbenchError | None = None
    got: list[InferRequest] = field(default_factory=list)

    def submit(self, request: InferRequest, promise: object, /) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.got.append(request)


@dataclass
class Versions:
    one: Version = field(default_factory=lambda: Version("1"))
    two: Version = field(default_factory=lambda: Version("2"))

    def split(self, weight: float, by: str = "") -> Split[Version]:
        spans = spread({}, {"2": weight})
        weighted = {version: (self.two, held) for version, held in spans.items()}
        return Split(self.one, weighted, by, {"stable": "1", "canary": "2", "other": "3"})

    def ask(self, split: Accepting, caller: str = "", **parameters: Parameter) -> str:
        """The version that a request with these parameters went to."""
        split.submit(InferRequest("m", {}, parameters=parameters, caller=caller), None)
        (side,) = [each for each in (self.one, self.two) if each.got]
        self.last = side.got.pop()
        return side.version


def test_the_table_hands_out_the_split_for_calls_without_a_version_alone() -> None:
    versions = Versions()
    split = versions.split(0.5)
    table = RoutingTable([versions.one, versions.two], {"m": versions.one}, before={"m": split})
    assert table.target("m", None) is split
    assert (table.target("m", "1"), table.target("m", "2")) == (versions.one, versions.two)
    assert table.choose("m", None) is versions.one, "what asks of the model is told of the routed one"


def test_what_brought_a_call_to_its_version_is_counted_once_it_was_accepted() -> None:
    versions, counts = Versions(), RouteCounts()
    one, two = versions.one, versions.two
    halves = {version: (two, held) for version, held in spread({}, {"2": 1.0}).items()}
    split, of_share = Split(one, halves, counts=counts), Split(one, halves, counts=counts, way=Way.SHARE)
    labels = {("m", "canary"): "2"}
    before = {"m": SplitByShare(split, {"s1": of_share})}
    table = RoutingTable([one, two], {"m": one}, labels=labels, before=before, counts=counts)
    unnamed = table.target("m", None)
    versions.ask(unnamed)
    versions.ask(unnamed)
    versions.ask(unnamed, "s1")
    assert versions.ask(unnamed, route="1") == "1"
    assert versions.ask(table.target("m", "1")) == "1"
    assert versions.ask(table.target("m", "canary")) == "2"
    two.refuses = QueueFull("full")
    for refused in (unnamed, table.target("m", "2")):
        with pytest.raises(QueueFull):
            refused.submit(InferRequest("m", {}), None)
    two.refuses = CircuitOpen("open", 1.0)
    assert versions.ask(unnamed) == "1", "the routed version stands in, and has the call counted"
    assert counts.counted() == {
        ("m", "2", "split"): 2,
        ("m", "2", "share"): 1,
        ("m", "1", "forced"): 1,
        ("m", "1", "version"): 1,
        ("m", "2", "label"): 1,
        ("m", "1", "split"): 1,
    }
    counts.forget("m", "2")
    assert {version for _, version, _ in counts.counted()} == {"1"}


def test_calls_are_split_by_weight_and_weight_nothing_is_nothing() -> None:
    versions = Versions()
    split = versions.split(0.1)
    assert Counter(versions.ask(split) for _ in range(1000)) == {"1": 900, "2": 100}
    none = versions.split(0.0)
    assert {versions.ask(none) for _ in range(1000)} == {"1"}


def test_a_key_sticks_to_its_side_and_a_call_without_one_does_not() -> None:
    versions = Versions()
    split = versions.split(0.5, by="user")
    sides = {f"u{each}": versions.ask(split, user=f"u{each}") for each in range(50)}
    assert set(sides.values()) == {"1", "2"}
    for user, side in sides.items():
        assert {versions.ask(split, user=user) for _ in range(3)} == {side}
        assert versions.ask(split, caller=user) == side, "the share of a call without the parameter is its key"
        assert versions.ask(split, caller="another", user=user) == side
        assert versions.ask(split, route_key=user) == side
    assert {versions.ask(split) for _ in range(50)} == {"1", "2"}


def test_by_share_goes_by_nothing_else() -> None:
    versions = Versions()
    split = versions.split(0.5, by="share")
    side = versions.ask(split, caller="team")
    assert {versions.ask(split, caller="team", user=f"u{each}", share=f"s{each}") for each in range(50)} == {side}
    unsplit = versions.split(0.5)
    assert {versions.ask(unsplit, caller="team") for _ in range(50)} == {"1", "2"}


def test_a_request_can_ask_for_a_side_by_version_or_label_and_for_no_other() -> None:
    versions = Versions()
    split = versions.split(0.01)
    for side, version in (("2", "2"), ("canary", "2"), ("1", "1"), ("stable", "1"), (2, "2")):
        assert {versions.ask(split, route=side, a=1) for _ in range(20)} == {version}
        assert versions.last.parameters == {"a": 1}, "how it was routed changes nothing of the answer"
    for side in ("3", "other", "", True):
        with pytest.raises(InvalidInput, match="go to 1, 2, canary, stable"):
            versions.ask(split, route=side)


def test_where_the_breaker_of_one_side_is_open_the_routed_version_answers() -> None:
    versions = Versions()
    split = versions.split(1.0)
    versions.two.refuses = CircuitOpen("it fails too often")
    assert versions.ask(split) == "1"
    with pytest.raises(CircuitOpen):
        versions.ask(split, route="2")
    versions.two.refuses = QueueFull("it has too much to do")
    with pytest.raises(QueueFull):
        versions.ask(split)


def test_shares_go_by_splits_of_their_own_and_all_others_as_before() -> None:
    versions = Versions()
    others, mine, half = versions.split(0.1), versions.split(1.0), versions.split(0.5)
    shares = SplitByShare(others, {"s1": mine, "s2": half})
    assert {versions.ask(shares, "s1") for _ in range(100)} == {"2"}
    assert Counter(versions.ask(shares, "s2") for _ in range(1000)) == {"1": 500, "2": 500}
    assert Counter(versions.ask(shares, "s3") for _ in range(500)) == {"1": 450, "2": 50}
    assert Counter(versions.ask(shares) for _ in range(500)) == {"1": 450, "2": 50}
    only = SplitByShare(versions.one, {"s1": mine})
    assert (versions.ask(only), versions.ask(only, "s1"), versions.ask(only, "s1", route="1")) == ("1", "2", "1")


def test_where_the_breaker_of_a_share_s_version_is_open_the_routed_one_answers() -> None:
    versions = Versions()
    versions.two.refuses = CircuitOpen("it fails", 1.0)
    assert versions.ask(SplitByShare(versions.one, {"s1": versions.split(1.0)}), "s1") == "1"
