"""Learns where teammates reach this Jupyter server, and writes it down for links of shares."""

from __future__ import annotations

import ipaddress
from logging import Logger
from urllib.parse import urlsplit

from workbench.errors import WorkbenchError
from workbench.jupyter.endpoint_routes import ENDPOINT
from workbench.rendezvous.folder import Rendezvous
from workbench.rendezvous.jupyter_address import publish_jupyter_address


class EndpointAddress:
    """Pages of this server, whose users have logged in, say by what address they reached it."""

    def __init__(self, rendezvous: Rendezvous, base_url: str, configured: str, enabled: bool, log: Logger) -> None:
        """`configured` is the address with the base URL, as JupyterHub gives it; empty: pages say it."""
        self._rendezvous = rendezvous
        self._base_url = base_url
        self._configured = configured.rstrip("/")
        self._enabled = enabled
        self._log = log
        self._written = ""

    def open(self) -> None:
        """Write down what was configured."""
        if self._configured:
            self._write(f"{self._configured}/{ENDPOINT}")

    def page_opened(self, origin: str) -> None:
        """Write down the origin of a page. One of this machine says nothing: so it is with a tunnel, too."""
        if not self._configured and is_elsewhere(origin):
            self._write(f"{origin}{self._base_url}{ENDPOINT}")

    def _write(self, url: str) -> None:
        if not self._enabled or url == self._written:
            return
        try:
            publish_jupyter_address(self._rendezvous.open().path, url)
        except WorkbenchError as error:
            self._log.warning("links of shares will not name this Jupyter server: %s", error.message)
        else:
            self._written = url


def is_elsewhere(origin: str) -> bool:
    """Whether it names a machine, and by another name than its own users call it."""
    try:
        name = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    return bool(name) and not is_loopback(name) and name != "localhost" and not name.endswith(".localhost")


def is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
