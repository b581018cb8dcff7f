"""What open pages are told. A page is a set of flags: what it is still to be sent is made when it can be sent, so
that a slow page costs nothing and is never behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from workbench.errors import InvalidInput
from workbench.live.ring import Ring
from workbench.live.tick import Tick, detail
from workbench.live.view import ServiceView

API = 1
"""Of what is said on the socket and by the routes; another one is not understood."""

BEAT_S = 5.0
"""Silence after which a page is told that the way to it still works."""

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
    BEAT = "beat"


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a page draws."""

    models: frozenset[str] | None = None
    """None: all."""
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
    """Takes what Watch tells, and hands it to pages. Belongs to the event loop."""

    def __init__(self, ring: Ring, version: str, interval_s: float, worked: Callable[[], None]) -> None:
        self.pages: set[Page] = set()
        self.worked = worked
        self._ring = ring
        self._hello = {"version": version, "api": API, "interval_s": interval_s}
        self._service = ServiceView()
        self._models: list[Any] = []
        self._bench: dict[str, Any] | None = None
        self._tick: Tick | None = None
        self._encoded: dict[object, str] = {}
        """What several pages are sent alike, as long as it holds."""

    # Listener

    def service_changed(self, service: ServiceView) -> None:
        self._service = service
        self._changed(PageMessage.SERVICE)

    def models_changed(self, models: list[Any]) -> None:
        self._models = models
        self._changed(PageMessage.MODELS)

    def ticked(self, tick: Tick) -> None:
        self._ring.add(tick)
        self._tick = tick
        self._encoded = {key: text for key, text in self._encoded.items() if not isinstance(key, Subscription)}
        for page in self.pages:
            if page.subscription is not None and not page.paused:
                page.add(PageMessage.FIGURES)

    def bench_changed(self, message: dict[str, Any]) -> None:
        """Of load tests, told some times a second while one runs."""
        self._bench = message
        self._encoded.pop(PageMessage.BENCH, None)
        for page in self.pages:
            if not page.paused:
                page.add(PageMessage.BENCH)

    def _changed(self, kind: PageMessage) -> None:
        self._encoded.pop(kind, None)
        for page in self.pages:
            page.add(kind)

    # Pages

    def join(self) -> Page:
        page = Page(self)
        self.resumed(page)
        self.pages.add(page)
        return page

    def resumed(self, page: Page) -> None:
        """Tell it what it may have missed."""
        if self._bench is not None:
            page.add(PageMessage.BENCH)

    def leave(self, page: Page) -> None:
        self.pages.discard(page)

    def text(self, kind: PageMessage, page: Page) -> str:
        """The message as it is now."""
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
            case PageMessage.BEAT:
                return _encode(kind, {})

    def _once(self, key: object, encode: Callable[[], str]) -> str:
        text = self._encoded.get(key)
        if text is None:
            text = self._encoded[key] = encode()
        return text


class Page:
    """One open page: what it asked for, and what it is to be sent next."""

    def __init__(self, relay: Relay) -> None:
        self.subscription: Subscription | None = None
        self.paused = False
        self.complaint = ""
        """About the last message that could not be used."""
        self._relay = relay
        self._due: dict[PageMessage, None] = dict.fromkeys((PageMessage.HELLO, PageMessage.SERVICE, PageMessage.MODELS))
        self._some = asyncio.Event()
        self._some.set()

    def add(self, kind: PageMessage) -> None:
        self._due[kind] = None
        self._some.set()

    async def next(self, beat_s: float) -> str:
        """The next message, once there is one; after `beat_s` a beat. What is newest by then, never what was."""
        try:
            async with asyncio.timeout(beat_s):
                while not self._due:  # what woke this up may be dropped before it runs
                    await self._some.wait()
        except TimeoutError:
            return self._relay.text(PageMessage.BEAT, self)
        kind = next(iter(self._due))
        del self._due[kind]
        if not self._due:
            self._some.clear()
        return self._relay.text(kind, self)

    def hear(self, message: str | bytes) -> None:
        """A message of the page. One that cannot be used is answered with `error`."""
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
        self._drop(PageMessage.FIGURES)  # they come after the history
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
        raise InvalidInput(f"window_s is {said.window_s:g}; it takes up to {MAX_WINDOW_S:g}")
    if not 1 <= said.points <= MAX_POINTS:
        raise InvalidInput(f"points is {said.points}; it takes 1 to {MAX_POINTS}")
    if isinstance(said.models, str) and said.models != "*":
        raise InvalidInput('models takes a list of names, or "*" for all')
    models = None if isinstance(said.models, str) else frozenset(said.models)
    return Subscription(models, said.window_s, said.points, frozenset(said.detail))


def _encode(kind: PageMessage, fields: dict[str, Any]) -> str:
    return msgspec.json.encode({"type": kind.value, **fields}).decode()
