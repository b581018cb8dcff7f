"""What every call of a `Workbench` stands on: the client of its service, and how a call is waited for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.core.model import named_version
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    from workbench.client.client import AsyncClient
    from workbench.client.load_progress import LoadProgress, Told
    from workbench.client.predict import Predictor
    from workbench.client.shared_service import SharedService
    from workbench.notebook.kernel_feed import Feed

T = TypeVar("T")


class ServiceHandle:
    """Holds the client of one service. Safe to use from any thread, and after a fork."""

    def __init__(
        self,
        client: AsyncClient,
        shared: SharedService | None = None,
        token_file: str | None = None,
    ) -> None:
        from workbench.client import sync
        from workbench.client.predict import Predictor

        sync.close_with(self, client.close)
        self._client = client
        self._shared = shared
        self._token_file = token_file
        self._predictor: Predictor = Predictor(client)
        self._feed: Feed | None = None
        self._closed = False

    @property
    def client(self) -> AsyncClient:
        """The asyncio client of this workbench. It belongs to a loop of its own; create another for your loop."""
        return self._client

    @property
    def url(self) -> str:
        return self._client.url

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    @property
    def shared(self) -> bool:
        """True for the user's shared service, False for a service that was given by its URL."""
        return self._shared is not None

    @property
    def running(self) -> bool:
        """False where the shared service does not run, or is not Ready; a call would start it, or wait for it. Of a
        service that was given by its URL it is not known, and True."""
        from workbench.rendezvous.service_record import ServiceState

        record = None if self._shared is None else self._shared.record()
        return self._shared is None or (record is not None and record.state is ServiceState.READY)

    def close(self) -> None:
        """Closes this workbench's connections; the service keeps running."""
        from workbench.client import sync

        self._closed = True
        sync.run(self._client.close())

    def _names(self) -> list[str]:
        """The names of the models."""
        from workbench.client import sync

        return list(dict.fromkeys(status.name for status in sync.run(self._client.statuses())))


def run_told(what: str, call: Callable[[LoadProgress], Coroutine[Any, Any, T]], told: Told | bool) -> T:
    """Returns the result of `call`. `told` gets its progress: True shows a bar, and a function is called."""
    from workbench.client import sync
    from workbench.client.load_progress import LoadProgress

    progress = LoadProgress()
    if told is False:
        return sync.run(call(progress))
    if told is True:
        from workbench.notebook.progress_bar import Bar

        with Bar(what) as bar:
            return sync.run(call(progress), lambda: bar(progress.step))
    return sync.run(call(progress), lambda: told(progress.step))


def version_of(name: str, version: str | int | None = None) -> tuple[str, str | None]:
    """The model, and the version that "digits:2" or `version` names. Raises InvalidInput where they differ."""
    model, named = named_version(name) if isinstance(name, str) else (name, None)
    wanted = named if version is None else str(version)
    if named not in (None, wanted):
        raise InvalidInput(f"{name!r} names version {named}, and version={wanted!r} another one; give one of them")
    return model, wanted
