"""`wb.rollout` and the Rollout that it returns: how it stands, what it shows, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from tests.models import add_constant, save
from tests.server.real_service import serving
from workbench.api import Workbench, connect
from workbench.client.client import AsyncClient
from workbench.client.rollout_results import Rollout, steps_from
from workbench.core.rollout_view import ClauseView, RolloutView
from workbench.errors import Conflict, InvalidInput, ModelNotFound, NotFound

NOW = 1_000.0

FOUND = RolloutView(
    "digits", "2", "1", "running", "version 2: step 2 of 4, 10 %", "", 2, (0.01, 0.1, 0.5, 1.0), 300.0, "errors<1%",
    "rollback", 200, "", NOW - 400, NOW - 100, NOW + 200, NOW - 100, NOW - 100,
)  # fmt: skip


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    models = dict.fromkeys(("m", "whole", "fresh"), add_constant(1.0))
    with serving(tmp_path_factory.mktemp("service"), models) as serve:
        yield serve


@pytest.fixture(scope="module")
def wb(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    folder = tmp_path_factory.mktemp("models")
    with connect(serve.published["url"], serve.token) as wb:
        for name in ("m", "whole", "fresh"):
            wb.load(name, save(add_constant(1.5), folder / "2.onnx"), route=False)
        yield wb


def shown(**differs: object) -> Rollout:
    return Rollout(AsyncClient("http://127.0.0.1:9"), replace(FOUND, **differs))  # type: ignore[arg-type]


def test_one_is_begun_halted_resumed_stopped_and_waited_for(wb: Workbench) -> None:
    rollout = wb.rollout("m", 2, steps="50,100", every="10m", guard="errors<1%")
    assert rollout.status == "running" and rollout.reason == ""
    assert rollout.view.steps == (0.5, 1.0) and rollout.view.every_s == 600.0
    with pytest.raises(Conflict, match="rollout"):
        wb.rollout("m", 2)
    with pytest.raises(Conflict, match="is running; one that was halted can be resumed"):
        rollout.resume()
    with pytest.raises(TimeoutError):
        rollout.wait(timeout_s=0.01)
    wb.route("m", {})  # by hand
    assert rollout.wait(timeout_s=60).view.status == "halted"
    assert "routed by hand" in rollout.reason
    wb.route("m", {"2": 0.5})  # as its step has it
    assert wb.rollout("m", resume=True).status == "running"
    assert wb.rollout("m", stop=True).view.status == "stopped"
    assert rollout.view.status == "halted", "as of the last look"
    assert rollout.refresh().view.told == "version 2: stopped at 50 %: by owner"
    with pytest.raises(Conflict, match="is over"):
        rollout.stop()


def test_one_that_goes_to_its_end_has_its_version_serve(wb: Workbench) -> None:
    done = wb.rollout("whole", "2", steps=[1], every=1, least_calls=0).wait(timeout_s=60)
    assert done.view.told == "version 2: done, it serves"
    assert repr(done).startswith("rollout of whole, version 2: done, it serves")
    until(lambda: wb["whole"].status.version == "2")


def test_what_cannot_be_is_refused_in_a_sentence(wb: Workbench) -> None:
    with pytest.raises(NotFound, match="there was no rollout of model 'fresh': begin one with"):
        wb.rollout("fresh")
    with pytest.raises(ModelNotFound, match="nobody"):
        wb.rollout("nobody")
    with pytest.raises(InvalidInput, match="give one of them"):
        wb.rollout("fresh", stop=True, resume=True)
    with pytest.raises(InvalidInput, match="leave the version out"):
        wb.rollout("fresh", "2", stop=True)
    with pytest.raises(InvalidInput, match=r"'1,10,50,100', got '1,much'"):
        wb.rollout("fresh", "2", steps="1,much")
    with pytest.raises(InvalidInput, match="every"):
        wb.rollout("fresh", "2", every="soon")
    with pytest.raises(InvalidInput, match=r"errors<0.5%"):
        wb.rollout("fresh", "2", guard="speed>3")


def test_a_running_one_says_how_long_its_step_takes_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    clauses = (
        ClauseView("errors<1%", "holds", "0.1 % of 1,200 calls", 1200),
        ClauseView("p99<1.1x", "too little to tell"),
    )
    assert repr(shown(clauses=clauses)).splitlines() == [
        "rollout of digits, version 2: step 2 of 4, 10 %; 3 min 20 s left",
        "guard      finding             measured              calls",
        "errors<1%  holds               0.1 % of 1,200 calls  1,200",
        "p99<1.1x   too little to tell  -                         0",
    ]
    assert repr(shown(step_ends_at=NOW + 5)).endswith("; 5 s left; guard errors<1%, not looked at yet")
    assert "; 2 h left;" in repr(shown(step_ends_at=NOW + 7200))
    assert "; 25 h 1 min left;" in repr(shown(step_ends_at=NOW + 90_060))
    assert "waiting until there is enough to tell" in repr(shown(step_ends_at=NOW - 1))
    assert "counted anew" in repr(shown(reason="the service was restarted, so its calls are counted anew"))
    assert repr(shown(status="stopped", told="version 2: stopped at 10 %: by owner", reason="by owner")) == (
        "rollout of digits, version 2: stopped at 10 %: by owner"
    )


def test_its_html_shows_what_it_is_told_as_text() -> None:
    page = shown(told="version 2: halted at 1 %: <b>", status="halted", clauses=(ClauseView("<i>", "holds"),))
    assert "halted at 1 %: &lt;b&gt;" in page._repr_html_()
    assert "&lt;i&gt;" in page._repr_html_() and "<i>" not in page._repr_html_()


def test_steps_are_parts_or_percentages() -> None:
    assert steps_from("1, 10,50%,100") == [0.01, 0.1, 0.5, 1.0]
    assert steps_from([0.1, 1]) == [0.1, 1.0]
