"""The service itself: its state, log, token, figures, and its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.api.service_handle import ServiceHandle
from workbench.errors import Unavailable, Unsupported

if TYPE_CHECKING:
    from workbench.client.audit_results import AuditTable
    from workbench.client.results import Lines
    from workbench.client.summary import Card
    from workbench.notebook.kernel_feed import Feed
    from workbench.notebook.live import LivePlot


class ServiceCalls(ServiceHandle):
    """The calls of a `Workbench` that watch and manage the service."""

    def status(self) -> Card:
        """Describes the service: its state and the reason, address, start time and resources. Starts no service."""
        from workbench.client import sync
        from workbench.client.shared_service import address_of
        from workbench.client.summary import service_card, share_card, shared_card

        if self._client.of_share:
            return share_card(self.url, sync.run(self._client.server_metadata()), self._names())
        if self._shared is None:
            return service_card(sync.run(self._client.service()), self._token_file)
        record = self._shared.record()
        said = None
        if record is not None and record.state == "Ready":
            sync.run(self._client.rebind(address_of(record)))
            try:
                said = sync.run(self._client.service())
            except Unavailable:
                record = self._shared.record()  # it has just left that state
        return shared_card(record, self._shared.ended(), self._shared.holders(), said)

    def logs(self, lines: int = 20) -> Lines:
        """Returns the service's last log lines; those of the shared service also when it does not run."""
        from workbench.client import sync
        from workbench.client.results import Lines

        if self._shared is not None:
            return Lines(self._shared.logs(lines))
        return Lines(sync.run(self._client.logs(lines)))

    def token(self, *, show: bool = False) -> Card:
        """Says in which file the service's token is; with `show` also the token. Starts no service."""
        from workbench.client.summary import token_card
        from workbench.rendezvous.token_file import read_token

        file = self._client.token_file
        if self._shared is not None and (record := self._shared.record()) is not None:
            file = record.token_file
        token = self._client.token if not show or not file else read_token(Path(file))
        return token_card(file, token if show else None)

    def rotate_token(self) -> Card:
        """Replaces the service's token while it runs, and says in which file the new one is.

        No other token is valid from then on: calls with the old one are refused, and streams that it opened end. Your
        other programs that know the file read it again and go on.

        Raises Unavailable if no service runs, and StorageError if the file is not the service's to write.
        """
        from workbench.client import sync
        from workbench.client.summary import token_card

        if self._shared is not None and self._shared.record() is None:
            raise Unavailable(
                "no service runs, so there is no token to replace; to have the next start make another one, delete the "
                "file 'token' in the data folder"
            )
        return token_card(sync.run(self._client.rotate_token()), None, replaced=True)

    def audit(self, last: float | str = "7d") -> AuditTable:
        """Lists who changed the service and from where, of the `last` time ("7d", "12h", or seconds), the oldest first:
        loads, unloads, settings, shares made, claimed and revoked, tokens replaced, and what was refused.

        Raises StorageError where it cannot be read.
        """
        from workbench.client import sync
        from workbench.client.audit_results import seconds_back

        return sync.run(self._client.audit(time.time() - seconds_back(last)))

    def snapshots(self, interval: float = 0.5) -> Iterator[dict[str, Any]]:
        """Yields the service's live figures, one snapshot every `interval` seconds."""
        from workbench.client import sync

        return sync.iterate(self._client.snapshots(interval))

    def watch(self, model: str | None = None, window: float | str = 60.0) -> LivePlot:
        """Plots the live figures of `model`, or of the busiest model, in a notebook. Updates while cells run.

        The plot updates until its `close()`. `window` is the time that is shown: seconds, or a text like "5m". It
        starts no service; if none runs, the plot says so.
        """
        from workbench.client.window_stats import window_s
        from workbench.core.model import check_model_name
        from workbench.notebook.live import LivePlot

        name = None if model is None else check_model_name(model)
        return LivePlot(self.feed, name, window_s(window), shared=self._shared is not None)

    @property
    def feed(self) -> Feed:
        """The service's live figures for the widgets of this process; read only while a widget is open."""
        from workbench.notebook.kernel_feed import of_client, of_shared

        if self._feed is None:
            self._feed = of_client(self._client) if self._shared is None else of_shared(self._shared)
        return self._feed

    def restart(self) -> Card:
        """Restarts the shared service in your version, with the same models, after its current requests have ended.

        Raises Unsupported for a service that was given by its URL.
        """
        if self._shared is None:
            raise Unsupported("only your own shared service can be restarted from here; restart this one where it runs")
        from workbench.client import sync

        sync.run(self._client.rebind(self._shared.restart()))
        return self.status()

    def stop(self) -> None:
        """Stops the shared service after its current requests; the next call starts it again with the same models.

        A service that was given by its URL is left running, and only this workbench is closed.
        """
        from workbench.client import sync

        if self._shared is None:
            self.close()
        else:
            sync.run(self._client.close())
            self._shared.stop()
            self._shared.release()
