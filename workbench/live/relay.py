"""Pushes the live metrics of a service to the browser pages that subscribed to them.

A subscriber keeps flags instead of a queue: a message is made when it can be sent. So a slow page costs no memory, and
always gets the newest state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from workbench.client.share_results import SharedAccess
from workbench.core.rollout_view import RolloutView
from workbench.errors import InvalidInput
from workbench.live.ring import Ring
from workbench.live.tick import Tick, detail
from workbench.live.view import ServiceView

API = 1
"""Version of the socket's messages and of the routes; a page with another version does not understand them."""

HEARTBEAT_S = 5.0
"""Seconds without a message after which a heartbeat is sent."""

MESSAGE_BYTES = 64 * 1024
MAX_POINTS = 1000
MAX_WINDOW_S = 900.0


class PageMessage(StrEnum):
    HELLO = "hello"
    SERVICE = "service"
    MODELS = "models"
    BENCH = "bench"
    HISTORY = "history"
    FIGURES = "figures"
    ERROR = "error"
    HEARTBEAT = "beat"


@dataclass(frozen=True, slots=True)
class Subscription:
    """The models and the window that a page draws."""

    models: frozenset[str] | None = None
    """None means all."""
    window_s: float = 60.0
    points: int = 60
    detail: frozenset[str] = frozenset()


class _Subscribe(msgspec.Struct, tag="subscribe", tag_field="type"):
    models: list[str] | str = "*"
    window_s: float = 60.0
    points: int = 60
    detail: list[str] = []


class _Pause(msgspec.Struct, tag="pause", tag_field="type"):
    pass


class _Resume(msgspec.Struct, tag="resume", tag_field="type"):
    pass


_decode: msgspec.json.Decoder[_Subscribe | _Pause | _Resume] = msgspec.json.Decoder(_Subscribe | _Pause | _Resume)


class Relay:
    """A Watch's Listener that passes figures on to subscribers. Used on the event loop only."""

    def __init__(self, ring: Ring, version: str, interval_s: float, worked: Callable[[], None]) -> None:
        self.subscribers: set[Subscriber] = set()
        self.worked = worked
        self._ring = ring
        self._hello = {"version": version, "api": API, "interval_s": interval_s}
        self._service = ServiceView()
        self._models: list[Any] = []
        self._bench: dict[str, Any] | None = None
        self._tick: Tick | None = None
        self._encoded: dict[object, str] = {}
        """Encoded messages that several pages share, while they are current."""

    # Listener

    def service_changed(self, service: ServiceView) -> None:
        self._service = service
        self._changed(PageMessage.SERVICE)

    def models_changed(self, models: list[Any]) -> None:
        self._models = models
        self._changed(PageMessage.MODELS)

    def share_called(self, share: SharedAccess) -> None: ...

    def rollout_changed(self, rollout: RolloutView) -> None: ...

    def ticked(self, tick: Tick) -> None:
        self._ring.add(tick)
        self._tick = tick
        self._encoded = {key: text for key, text in self._encoded.items() if not isinstance(key, Subscription)}
        for page in self.subscribers:
            if page.subscription is not None and not page.paused:
                page.add(PageMessage.FIGURES)

    def caught_up(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            self._ring.add(tick)
        for page in self.subscribers:
            if page.subscription is not None and not page.paused:
                page.add(PageMessage.HISTORY)

    def bench_changed(self, message: dict[str, Any]) -> None:
        """Take the progress of load tests, some times a second while one runs."""
        self._bench = message
        self._encoded.pop(PageMessage.BENCH, None)
        for page in self.subscribers:
            if not page.paused:
                page.add(PageMessage.BENCH)

    def _changed(self, kind: PageMessage) -> None:
        self._encoded.pop(kind, None)
        for page in self.subscribers:
            page.add(kind)

    # Subscribers

    def join(self) -> Subscriber:
        page = Subscriber(self)
        self.resumed(page)
        self.subscribers.add(page)
        return page

    def resumed(self, page: Subscriber) -> None:
        """Send again what a paused page may have missed."""
        if self._bench is not None:
            page.add(PageMessage.BENCH)

    def leave(self, page: Subscriber) -> None:
        self.subscribers.discard(page)

    def text(self, kind: PageMessage, page: Subscriber) -> str:
        """Return the current message of a kind."""
        match kind:
            case PageMessage.HELLO:
                return _encode(kind, self._hello)
            case PageMessage.SERVICE:
                return self._once(kind, lambda: _encode(kind, {"service": self._service}))
            case PageMessage.MODELS:
                return self._once(kind, lambda: _encode(kind, {"models": self._models}))
            case PageMessage.BENCH:
                return self._once(kind, lambda: _encode(kind, self._bench or {}))
            case PageMessage.HISTORY:
                wanted = page.subscription or Subscription()
                return _encode(kind, self._ring.history(wanted.models, wanted.window_s, wanted.points, wanted.detail))
            case PageMessage.FIGURES:
                tick, subscription = self._tick, page.subscription
                assert tick is not None and subscription is not None
                return self._once(subscription, lambda: _encode(kind, figures(tick, subscription)))
            case PageMessage.ERROR:
                return _encode(kind, {"message": page.complaint})
            case PageMessage.HEARTBEAT:
                return _encode(kind, {})

    def _once(self, key: object, encode: Callable[[], str]) -> str:
        text = self._encoded.get(key)
        if text is None:
            text = self._encoded[key] = encode()
        return text


class Subscriber:
    """One open page: what it asked for, and which messages are due."""

    def __init__(self, relay: Relay) -> None:
        self.subscription: Subscription | None = None
        self.paused = False
        self.complaint = ""
        """What was wrong with the page's last invalid message."""
        self._relay = relay
        self._due: dict[PageMessage, None] = dict.fromkeys((PageMessage.HELLO, PageMessage.SERVICE, PageMessage.MODELS))
        self._some = asyncio.Event()
        self._some.set()

    def add(self, kind: PageMessage) -> None:
        self._due[kind] = None
        self._some.set()

    async def next(self, heartbeat_s: float) -> str:
        """Wait for the next message, and return it as it is by then; after `heartbeat_s` seconds, a heartbeat."""
        try:
            async with asyncio.timeout(heartbeat_s):
                while not self._due:  # a message may be dropped between the wake-up and here
                    await self._some.wait()
        except TimeoutError:
            return self._relay.text(PageMessage.HEARTBEAT, self)
        kind = next(iter(self._due))
        del self._due[kind]
        if not self._due:
            self._some.clear()
        return self._relay.text(kind, self)

    def handle_message(self, message: str | bytes) -> None:
        """Apply a message of the page. An invalid one is answered with `error`."""
        try:
            said = _read(message)
        except InvalidInput as error:
            self.complaint = error.message
            self.add(PageMessage.ERROR)
            return
        if isinstance(said, _Pause):
            self.paused = True
            self._drop(PageMessage.FIGURES, PageMessage.HISTORY, PageMessage.BENCH)
            return
        if isinstance(said, Subscription):
            self.subscription = said
        else:
            self.paused = False
            self._relay.resumed(self)
        self._drop(PageMessage.FIGURES)  # the history comes first
        if self.subscription is not None and not self.paused:
            self.add(PageMessage.HISTORY)

    def _drop(self, *kinds: PageMessage) -> None:
        for kind in kinds:
            self._due.pop(kind, None)
        if not self._due:
            self._some.clear()


def figures(tick: Tick, subscription: Subscription) -> dict[str, Any]:
    wanted = tick.models if subscription.models is None else subscription.models & tick.models.keys()
    said: dict[str, Any] = {
        "epoch": tick.epoch,
        "sequence": tick.sequence,
        "time": tick.time,
        "interval_s": tick.interval_s,
        "process": tick.process,
        "machine": tick.machine,
        "models": {name: tick.models[name] for name in wanted},
    }
    if subscription.detail:
        said["detail"] = {name: detail(tick.entries[name]) for name in subscription.detail & tick.entries.keys()}
    return said


def _read(message: str | bytes) -> Subscription | _Pause | _Resume:
    try:
        said = _decode.decode(message)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the message does not fit: {str(error).replace('`', '')[:200]}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("the message is not JSON") from None
    if not isinstance(said, _Subscribe):
        return said
    if not 0 < said.window_s <= MAX_WINDOW_S:
        raise InvalidInput(f"window_s must be more than 0 and at most {MAX_WINDOW_S:g}, got {said.window_s:g}")
    if not 1 <= said.points <= MAX_POINTS:
        raise InvalidInput(f"points must be from 1 to {MAX_POINTS}, got {said.points}")
    if isinstance(said.models, str) and said.models != "*":
        raise InvalidInput('models must be a list of names, or "*" for all')
    models = None if isinstance(said.models, str) else frozenset(said.models)
    return Subscription(models, said.window_s, said.points, frozenset(said.detail))


def _encode(kind: PageMessage, fields: dict[str, Any]) -> str:
    return msgspec.json.encode({"type": kind.value, **fields}).decode()
