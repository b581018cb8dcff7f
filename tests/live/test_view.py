from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.live.view import SILENT, LocalIntents, Observation, ServiceReport, ServiceView, device_words, view
from workbench.rendezvous.compatibility import API
from workbench.rendezvous.process_identity import this_process
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

ME = this_process()
READY = ServiceRecord("http://127.0.0.1:1", "the-token", "/data/token", ME, ME, ServiceState.READY, "", 7.0, "1.0", API)
ALIVE = Observation(READY, worker_lives=True)
NO_INTENTS = LocalIntents()


def seen(
    seen: Observation = ALIVE, asked: LocalIntents = NO_INTENTS, silent: bool = False, version: str = "1.0"
) -> ServiceView:
    return view(seen, ServiceReport(), asked, version, silent=silent)


def test_what_is_published_is_shown_without_the_token() -> None:
    shown = view(ALIVE, ServiceReport(("cpu",), (), ("a note",)), LocalIntents(), "1.0")
    assert (shown.state, shown.reason, shown.since) == (ServiceState.READY, "", 7.0)
    assert (shown.pid, shown.url, shown.version) == (ME.pid, READY.url, "1.0")
    assert shown.token_file == "/data/token"
    assert (shown.devices, shown.notes) == (("cpu",), ("a note",))
    assert "the-token" not in repr(shown)


@pytest.mark.parametrize("state", list(ServiceState))
def test_a_state_of_the_keeper_is_the_state_shown(state: ServiceState) -> None:
    shown = seen(Observation(replace(READY, state=state, reason="why"), worker_lives=True))
    assert (shown.state, shown.reason) == (state, "why")


def test_a_dead_worker_is_a_restart_before_its_keeper_says_so() -> None:
    shown = seen(Observation(READY, worker_lives=False))
    assert (shown.state, shown.reason, shown.pid) == (ServiceState.RESTARTING, "its process has ended", None)


def test_silence_is_told_of_a_service_that_is_ready() -> None:
    assert seen(silent=True).reason == SILENT
    starting = Observation(replace(READY, state=ServiceState.STARTING, reason="why"), worker_lives=True)
    assert seen(starting, silent=True).reason == "why"


def test_where_nothing_runs_it_says_why() -> None:
    nothing = Observation(None, ended=("it was told to stop", 5.0))
    assert (seen(nothing).state, seen(nothing).reason, seen(nothing).since) == ("Stopped", "it was told to stop", 5.0)
    assert seen(nothing, LocalIntents(starting=True)).state == "Starting"
    failed = seen(nothing, LocalIntents(failure="no room"))
    assert (failed.state, failed.reason) == ("Failed", "no room")


def test_a_start_in_place_of_one_that_was_lost_says_so_until_it_is_done() -> None:
    lost = LocalIntents(starting=True, lost="its keeper was killed")
    words = "its keeper was killed; another one is being started"
    assert seen(Observation(None, ended=("its keeper was killed", 0.0)), lost).reason == words
    coming = Observation(
        replace(READY, state=ServiceState.STARTING, reason="its process is coming up"), worker_lives=True
    )
    assert (seen(coming, lost).state, seen(coming, lost).reason) == ("Starting", words)
    assert seen(asked=lost).reason == ""


@pytest.mark.parametrize(
    ("state", "worker_lives", "answers"),
    [
        (ServiceState.STARTING, True, True),
        (ServiceState.RESTARTING, True, True),
        (ServiceState.READY, True, True),
        (ServiceState.READY, False, False),
        (ServiceState.STOPPING, True, False),
        (ServiceState.FAILED, True, False),
    ],
)
def test_a_service_is_listened_to_also_while_it_loads(state: ServiceState, worker_lives: bool, answers: bool) -> None:
    found = Observation(replace(READY, state=state), worker_lives=worker_lives)
    assert (found.answers is not None) is answers
    assert (found.ready is not None) is (answers and state is ServiceState.READY)


def test_a_stop_that_is_asked_for_shows_at_once() -> None:
    assert seen(asked=LocalIntents(stopping=True)).state == "Stopping"


def test_another_version_is_a_note_and_another_api_a_failure_with_what_to_do() -> None:
    assert "you have 2.0" in seen(version="2.0").notes[0]
    other = seen(Observation(replace(READY, api=API + 1), worker_lives=True))
    assert other.state is ServiceState.FAILED
    assert "restart" in other.reason


def test_devices_are_told_in_words() -> None:
    assert device_words(ServiceReport()).startswith("CPU, ")
    assert device_words(ServiceReport(("cpu",), ("NVIDIA L4",))).startswith("CPU, ")
    assert device_words(ServiceReport(("cpu", "cuda:0"), ("NVIDIA L4",))).startswith("NVIDIA L4 · CPU, ")
    assert device_words(ServiceReport(("cuda:0", "cuda:1"), ("NVIDIA L4", "NVIDIA L4"))).startswith("2 x NVIDIA L4 · ")
    assert device_words(ServiceReport(("cuda:0",), ("NVIDIA L4", "NVIDIA T4"))).startswith("cuda:0 · ")
