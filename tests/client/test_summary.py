from __future__ import annotations

from workbench.client.summary import service_card, shared_card
from workbench.rendezvous.process_identity import this_process
from workbench.rendezvous.service_record import ServiceRecord


def test_a_service_that_starts_tells_how_far_it_has_come() -> None:
    me = this_process()
    words = "restoring models, 3 of 20 done"
    record = ServiceRecord("http://127.0.0.1:1", "t", "", me, reason="its process is coming up", progress=words)
    card = shared_card(record, ("", 0.0), 1, None)
    assert (card["state"], card["progress"]) == ("Starting: its process is coming up", words)
    assert words in repr(card)


def test_what_a_service_found_at_its_start_is_shown() -> None:
    card = service_card({"state": "ready", "notes": ["one was damaged", "two lie there"]}, None)
    assert "notes  one was damaged; two lie there" in repr(card)
    assert "notes" not in repr(service_card({"state": "ready", "notes": []}, None))


def test_where_grpc_is_served_is_shown_with_the_url() -> None:
    record = ServiceRecord("http://127.0.0.1:1", "t", "", this_process(), grpc="127.0.0.1:2")
    assert shared_card(record, ("", 0.0), 1, None)["grpc"] == "127.0.0.1:2"
    assert service_card({"url": "http://127.0.0.1:1", "grpc": "127.0.0.1:2"}, None)["grpc"] == "127.0.0.1:2"
    assert "grpc" not in repr(service_card({"url": "http://127.0.0.1:1", "grpc": ""}, None))


def test_a_service_that_takes_calls_and_is_not_ready_says_both() -> None:
    said = {"state": "ready", "ready": False, "notes": ["failed at the start: a"]}
    record = ServiceRecord("http://127.0.0.1:1", "t", "", this_process())
    for card in (service_card(said, None), shared_card(record, ("", 0.0), 1, said)):
        assert "health checks answer not ready" in str(card["state"])
    for other in ({"state": "ready", "ready": True}, {"state": "ready"}, {"state": "starting", "ready": False}):
        assert service_card(other, None)["state"] == other["state"]
