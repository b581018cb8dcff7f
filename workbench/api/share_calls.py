"""Tokens for others, and the port on which they call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.api.service_handle import ServiceHandle

if TYPE_CHECKING:
    from workbench.client.share_results import Share, ShareTable
    from workbench.client.summary import Card


class ShareCalls(ServiceHandle):
    """The calls of a `Workbench` that make, list and end shares."""

    def share(
        self,
        model: str | Sequence[str],
        label: str,
        rate: float | str | None = None,
        expires: float | str = "7d",
        *,
        row_rate: float | str | None = None,
        quota: int | str | None = None,
        row_quota: int | str | None = None,
        version: int | str | None = None,
        max_body: int | str | None = None,
        metrics: bool = False,
        max_in_flight: int | None = None,
        show_token: bool = False,
        as_env: str | os.PathLike[str] | None = None,
    ) -> Share:
        """Gives somebody else a token for inferences on `model`, or on several models, and nothing else.

        `rate` are requests a second (20, "20/s", "600/min"), `row_rate` their rows, `quota` requests a UTC day
        (10000), and `row_quota` their rows; `expires` is a time from now on ("7d", "12h", or seconds); `max_in_flight`
        requests may be under way at once (16). It calls `version` of the model alone, by default the one that serves;
        a body may have `max_body` bytes (100000, "1MB"); with `metrics` it may read the metrics of its models.

        The answer has a link that gives the token once, within an hour; with `show_token` it has the token in its
        place. No token is shown, here or later. `as_env` is a new file for the address and the token, INFER_URL and
        INFER_TOKEN, that only you can read.

        Raises ModelNotFound for a model that is not served, Conflict for a label that a share has already.
        """
        from workbench.client import sync
        from workbench.client.share_env import into_env_file

        terms: dict[str, object] = {
            "models": [model] if isinstance(model, str) else list(model),
            "label": label,
            "rate": rate,
            "row_rate": row_rate,
            "quota": quota,
            "row_quota": row_quota,
            "version": version,
            "max_body": max_body,
            "metrics": metrics,
            "expires": expires,
            "show_token": show_token or as_env is not None,
        }
        # JSON has no NaN and no infinity: as text they are refused by their name.
        for name in ("rate", "row_rate", "expires"):
            if isinstance(value := terms[name], float) and not isfinite(value):
                terms[name] = str(value)
        if max_in_flight is not None:
            terms["max_in_flight"] = max_in_flight
        if self._shared is not None and (url := self._shared.jupyter_url()):
            terms["url"] = url
        if as_env is not None:
            return into_env_file(Path(as_env), lambda: sync.run(self._client.share(terms)), self.revoke)
        return sync.run(self._client.share(terms))

    def shares(self) -> ShareTable:
        """Lists the shares: for whom, of what, and how they are used. Those that ended stay listed for 30 days."""
        from workbench.client import sync

        return sync.run(self._client.shares())

    def revoke(self, share: str) -> None:
        """Ends the share with this id or label: the next call with its token is refused, on kept connections too.

        Raises NotFound.
        """
        from workbench.client import sync

        sync.run(self._client.revoke(share))

    def open_port(
        self,
        host: str,
        port: int = 0,
        *,
        grpc_port: int = 0,
        tls: str = "off",
        tls_cert: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        insecure: bool = False,
    ) -> Card:
        """Opens a port of the service on a network, such as "0.0.0.0" for all, for calls with shares' tokens alone.

        Off loopback it needs `tls="self-signed"`, or the PEM files `tls_cert` and `tls_key` on the service's machine;
        `insecure` opens it without. `port` is that of HTTP, `grpc_port` that of gRPC; 0 takes a free one. The answer
        has `url`, `grpc` (HOST:PORT), `ca_file` for callers to trust, its `sha256`, and a `warning`. It is open until
        `close_port`, also after restarts; asked for again as it is, it stays.
        Raises Unavailable for a port that is taken, Conflict where another one is open.
        """
        from workbench.client import sync
        from workbench.client.summary import port_card

        files = {
            name: str(Path(path).absolute())
            for name, path in (("tls_cert", tls_cert), ("tls_key", tls_key))
            if path is not None
        }
        terms = {"host": host, "port": port, "grpc_port": grpc_port, "tls": tls, "insecure": insecure, **files}
        return port_card(sync.run(self._client.open_share_port(terms)))

    def port(self) -> Card:
        """Shows the port on a network that shares are called on."""
        from workbench.client import sync
        from workbench.client.summary import port_card

        return port_card(sync.run(self._client.share_port()))

    def close_port(self) -> None:
        """Closes the port for shares for good, once what is under way there is answered. Raises NotFound."""
        from workbench.client import sync

        sync.run(self._client.close_share_port())
