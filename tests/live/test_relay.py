from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.live.ticks import EPOCH, FakeService, ticks
from workbench.live.relay import MAX_POINTS, MAX_WINDOW_S, Relay, Subscriber
from workbench.live.ring import Ring
from workbench.live.tick import Tick, TickReader
from workbench.live.view import ServiceView
from workbench.rendezvous.service_record import ServiceState

LONG_S = 30.0


@pytest.fixture
def relay() -> Relay:
    return Relay(Ring(3600), "1.2.3", 0.25, lambda: None)


def made(count: int = 1) -> list[Tick]:
    service = FakeService(("digits", "1"), ("other", "1"))
    return ticks(service, count, 0.001)


async def due(page: Subscriber) -> list[dict[str, Any]]:
    """All that the page is to be sent now."""
    messages = []
    while (message := json.loads(await page.next(0)))["type"] != "beat":
        messages.append(message)
    return messages


async def kinds(page: Subscriber) -> list[str]:
    return [message["type"] for message in await due(page)]


def say(page: Subscriber, **message: object) -> None:
    page.handle_message(json.dumps(message))


async def test_a_page_is_greeted_and_told_how_things_stand(relay: Relay) -> None:
    relay.service_changed(ServiceView(ServiceState.READY))
    relay.models_changed([{"name": "digits"}])
    hello, service, models = await due(relay.join())
    assert hello == {"type": "hello", "version": "1.2.3", "api": 1, "interval_s": 0.25}
    assert service["service"]["state"] == "Ready"
    assert models == {"type": "models", "models": [{"name": "digits"}]}


async def test_a_page_that_subscribed_to_nothing_is_sent_no_figures(relay: Relay) -> None:
    page = relay.join()
    await due(page)
    relay.ticked(made()[0])
    assert await kinds(page) == []


async def test_what_the_service_kept_is_sent_as_history_before_the_present(relay: Relay) -> None:
    service, reader = FakeService(), TickReader()
    for _ in range(5):
        service.second(0.1)
    past = [reader.take(line) for line in service.past()]
    page = relay.join()
    say(page, type="subscribe", models=["digits"], window_s=60, points=60)
    await due(page)
    relay.caught_up(past)
    service.serve(0.1)
    relay.ticked(reader.take(service.snapshot(1.0)))
    history, figures = await due(page)
    assert (history["type"], figures["type"]) == ("history", "figures")
    assert history["models"]["digits"]["time"] == [1001.0, 1002.0, 1003.0, 1004.0, 1005.0, 1006.0]
    assert history["models"]["digits"]["requests_per_s"] == [1.0] * 6
    assert history["models"]["digits"]["queued"] == [None, None, None, None, None, 0]


async def test_a_subscription_is_answered_by_the_past_and_then_the_present(relay: Relay) -> None:
    page = relay.join()
    await due(page)
    past, present = made(2)
    relay.ticked(past)
    say(page, type="subscribe", models=["digits"], window_s=60, points=60)
    relay.ticked(present)
    history, figures = await due(page)
    assert (history["type"], history["epoch"], set(history["models"])) == ("history", EPOCH, {"digits"})
    assert figures["type"] == "figures"
    assert figures["sequence"] == present.sequence
    assert set(figures["models"]) == {"digits"}
    assert figures["models"]["digits"]["requests_per_s"] == 4
    assert "detail" not in figures


async def test_a_star_is_every_model_and_detail_only_what_is_asked_for(relay: Relay) -> None:
    page = relay.join()
    say(page, type="subscribe", models="*", detail=["digits", "unknown"])
    await due(page)
    relay.ticked(made()[0])
    (figures,) = await due(page)
    assert set(figures["models"]) == {"digits", "other"}
    assert figures["detail"]["digits"]["latency"]["request"]["count"] == 1


async def test_a_paused_page_is_told_of_changes_only_and_caught_up_when_it_resumes(relay: Relay) -> None:
    page = relay.join()
    say(page, type="subscribe")
    await due(page)
    say(page, type="pause")
    for tick in made(3):
        relay.ticked(tick)
    relay.service_changed(ServiceView(ServiceState.STOPPING))
    relay.models_changed([])
    assert await kinds(page) == ["service", "models"]
    say(page, type="resume")
    (history,) = await due(page)
    assert len(history["models"]["digits"]["time"]) == 1  # of one second, as 60 s in 60 points have it


async def test_a_page_that_pauses_is_not_sent_what_was_about_to_be(relay: Relay) -> None:
    page = relay.join()
    say(page, type="subscribe")
    relay.ticked(made()[0])
    say(page, type="pause")
    assert await kinds(page) == ["hello", "service", "models"]


async def test_a_page_may_pause_in_the_moment_in_which_it_is_about_to_be_sent_something(relay: Relay) -> None:
    page = relay.join()
    say(page, type="subscribe")
    await due(page)
    sending = asyncio.create_task(page.next(LONG_S))
    await asyncio.sleep(0)
    relay.ticked(made()[0])  # wakes it
    say(page, type="pause")  # before it has run
    await asyncio.sleep(0)
    relay.service_changed(ServiceView(ServiceState.STOPPING))
    assert json.loads(await sending)["type"] == "service"


async def test_a_slow_page_is_sent_the_newest_and_nothing_gathers_for_it(relay: Relay) -> None:
    page = relay.join()
    say(page, type="subscribe")
    await due(page)
    for number, tick in enumerate(made(500)):
        relay.ticked(tick)
        relay.service_changed(ServiceView(ServiceState.READY, reason=f"reason {number}"))
        relay.models_changed([{"name": f"model {number}"}])
    figures, service, models = await due(page)
    assert figures["sequence"] == 499
    assert service["service"]["reason"] == "reason 499"
    assert models["models"] == [{"name": "model 499"}]


async def test_pages_that_asked_for_the_same_are_sent_one_text(relay: Relay) -> None:
    pages = [relay.join() for _ in range(3)]
    for page, models in zip(pages, (["digits"], ["digits"], ["other"]), strict=True):
        say(page, type="subscribe", models=models)
        await due(page)
    relay.ticked(made()[0])
    first, second, third = [await page.next(LONG_S) for page in pages]
    assert first is second
    assert first != third


async def test_another_subscription_replaces_the_one_before(relay: Relay) -> None:
    page = relay.join()
    say(page, type="subscribe", models=["digits"])
    say(page, type="subscribe", models=["other"])
    await due(page)
    relay.ticked(made()[0])
    (figures,) = await due(page)
    assert set(figures["models"]) == {"other"}


async def test_a_page_that_left_is_told_nothing(relay: Relay) -> None:
    page = relay.join()
    await due(page)
    relay.leave(page)
    relay.service_changed(ServiceView(ServiceState.READY))
    assert await kinds(page) == []


async def test_what_comes_wakes_who_waits_for_it(relay: Relay) -> None:
    page = relay.join()
    await due(page)
    waiting = asyncio.ensure_future(page.next(LONG_S))
    await asyncio.sleep(0)
    relay.models_changed([])
    assert json.loads(await asyncio.wait_for(waiting, 5))["type"] == "models"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("no json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[" * 100_000, "does not fit"),
        ('{"other": ' + "[" * 100_000, "not JSON"),
        ("[]", "does not fit"),
        ("{}", "does not fit"),
        ('{"type": "dance"}', "does not fit"),
        ('{"type": "subscribe", "models": 3}', "does not fit"),
        ('{"type": "subscribe", "models": "digits"}', "list of names"),
        ('{"type": "subscribe", "detail": "*"}', "does not fit"),
        ('{"type": "subscribe", "points": 0}', "points must be from 1 to 1000, got 0"),
        (f'{{"type": "subscribe", "points": {MAX_POINTS + 1}}}', "points must be from 1 to 1000, got 1001"),
        ('{"type": "subscribe", "window_s": 0}', "window_s must be more than 0 and at most 900, got 0"),
        ('{"type": "subscribe", "window_s": -1e308}', "at most 900, got -1e"),
        (f'{{"type": "subscribe", "window_s": {MAX_WINDOW_S + 1}}}', "at most 900, got 901"),
    ],
)
async def test_a_message_that_cannot_be_used_is_told_so_and_changes_nothing(
    relay: Relay, message: str | bytes, words: str
) -> None:
    page = relay.join()
    say(page, type="subscribe", models=["digits"])
    await due(page)
    before = page.subscription
    page.handle_message(message)
    (error,) = await due(page)
    assert error["type"] == "error"
    assert words in error["message"]
    assert page.subscription == before
