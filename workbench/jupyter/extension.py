"""The Jupyter server extension: its settings, its parts, start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Float, Int, Unicode

from workbench.client.shared_service import SharedService
from workbench.client.user_agent import speak_as
from workbench.jupyter.endpoint import BODY_BYTES, REQUESTS, EndpointLimits, SharedEndpoint
from workbench.jupyter.endpoint_address import EndpointAddress
from workbench.jupyter.endpoint_handler import EndpointHandler
from workbench.jupyter.endpoint_routes import ENDPOINT
from workbench.jupyter.events import SCHEMAS, Events
from workbench.jupyter.loadtests import LoadTests
from workbench.jupyter.routes import RESOURCE, Parts, routes
from workbench.jupyter.version_routes import version_routes
from workbench.jupyter.websocket import StreamHandler
from workbench.live.relay import MAX_WINDOW_S, Relay
from workbench.live.ring import Ring
from workbench.live.watch import Listeners, Watch
from workbench.rendezvous.folder import data_folder, rendezvous

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

ACTIVITY = "infer_workbench_last_activity"
"""Web application setting with the time of the last activity, which cullers of idle servers read."""


class InferWorkbench(ExtensionApp):
    """Starts, watches and relays the user's inference service."""

    name = "infer_workbench"
    load_other_extensions = True

    interval_s = Float(
        0.25, min=0.1, max=10.0, help="Seconds between two ticks of the live figures that open pages are sent."
    ).tag(config=True)
    history_s = Float(
        MAX_WINDOW_S,
        min=1.0,
        max=MAX_WINDOW_S,
        help="Seconds of figures that are kept, for pages that are opened later. 40 models take 10 MB for 15 minutes.",
    ).tag(config=True)
    hold = Bool(
        True,
        help="Keep the service, once it runs, for as long as this Jupyter server runs. False: it ends some minutes "
        "after the last notebook that used it.",
    ).tag(config=True)
    allow_absolute_paths = Bool(
        True,
        help="Let models be loaded from any path of this machine, which users who may run kernels can read anyway. "
        "False: from below the file browser's folder only.",
    ).tag(config=True)
    endpoint = Bool(
        True,
        help="Let callers with a share's token call their models through this server, below infer-workbench/endpoint, "
        "while there is a share. False: they call the service itself.",
    ).tag(config=True)
    endpoint_url = Unicode(
        help="The address of this server with its base URL, as teammates reach it, for links of shares. Empty: what "
        "JupyterHub says (JUPYTERHUB_PUBLIC_URL), or else the pages that are open."
    ).tag(config=True)
    endpoint_requests = Int(
        REQUESTS, min=1, help="Most requests with shares' tokens under way through this server at once."
    ).tag(config=True)
    endpoint_body_bytes = Int(
        BODY_BYTES, min=1, help="Largest body of a request with a share's token through this server."
    ).tag(config=True)

    watch: Watch
    relay: Relay
    load_tests: LoadTests
    shared_endpoint: SharedEndpoint
    endpoint_address: EndpointAddress

    def initialize_settings(self) -> None:
        speak_as("panel")
        self.version = version("infer-workbench")
        self.sockets: set[StreamHandler] = set()
        log = logging.getLogger(f"{self.log.name}")
        shared = SharedService(rendezvous(), data_folder(), say=lambda line: log.info("%s", line))
        ring = Ring(max(2, round(self.history_s / self.interval_s)))
        self.relay = Relay(ring, self.version, self.interval_s, self.worked)
        self.load_tests = LoadTests(self.relay.bench_changed, log, lambda: bool(self.relay.subscribers))
        assert self.serverapp is not None and self.serverapp.event_logger is not None
        for schema in SCHEMAS.values():
            self.serverapp.event_logger.register_event_schema(schema)
        told = Listeners(self.relay, Events(self.serverapp.event_logger, log))
        self.watch = Watch(shared, told, log, version=self.version, interval_s=self.interval_s, hold=self.hold)
        limits = EndpointLimits(self.endpoint_requests, self.endpoint_body_bytes)
        self.shared_endpoint = SharedEndpoint(self.watch, limits, self.endpoint)
        self.endpoint_address = EndpointAddress(
            shared.rendezvous,
            self.serverapp.base_url,
            self.endpoint_url or os.environ.get("JUPYTERHUB_PUBLIC_URL", ""),
            self.endpoint,
            log,
        )

    def initialize_handlers(self) -> None:
        parts = Parts(self.version, self.watch, self.load_tests, self.allow_absolute_paths, self.worked)
        for pattern, handler in (*routes(), *version_routes()):
            self.handlers.append((f"/{pattern}", handler, {"parts": parts}))
        pages: dict[str, Any] = {"relay": self.relay, "sockets": self.sockets, "changed": self.pages_changed}
        pages["address"] = self.endpoint_address
        self.handlers.append((f"/{RESOURCE}/stream", StreamHandler, pages))
        self.handlers.append((f"/{ENDPOINT}(|/.*)", EndpointHandler, {"endpoint": self.shared_endpoint}))

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        await self.watch.open()
        self.endpoint_address.open()
        self.load_tests.open()

    async def stop_extension(self) -> None:
        await self.load_tests.close()
        await self.shared_endpoint.close()
        await asyncio.gather(*(socket.leave() for socket in list(self.sockets)))
        await self.watch.close()

    def worked(self) -> None:
        """Note that a request was served or a model is loaded: the server is in use, even without an open page."""
        assert self.serverapp is not None
        self.serverapp.web_app.settings[ACTIVITY] = datetime.now(UTC)

    def pages_changed(self) -> None:
        """Look at the service at once when a page was opened or closed, so that it shows the current state."""
        self.watch.attentive = bool(self.sockets)
        self.watch.look_now()
