"""`ControlCalls`: the calls of the control plane, as docs/http.md lists them, that come to one answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.client.audit_results import MOST, AuditTable, audit_of
from workbench.client.request_body import CountedBody
from workbench.client.service_transport import HttpRequest, ServiceTransport
from workbench.client.share_results import Share, ShareTable, share_of, table_of
from workbench.core.model import check_model_name, check_model_version
from workbench.core.provenance import Provenance, encode
from workbench.core.rollout_view import RolloutView
from workbench.core.shadow_figures import ShadowExample, ShadowFigures
from workbench.core.version_overview import VersionOverview
from workbench.errors import InvalidInput, NotFound
from workbench.protocols import control
from workbench.protocols.shadow_json import decode_shadow


class ControlCalls:
    """A part of `AsyncClient`, which keeps no state beside its `transport`."""

    def __init__(self, transport: ServiceTransport) -> None:
        self.transport = transport
        """Its connections over HTTP, and all that it knows of the service's address and token."""

    # Versions

    async def load(
        self,
        name: str,
        path: Path | str,
        config: Mapping[str, object] | None = None,
        *,
        force: bool = False,
        allow_code: bool = False,
        route: bool = True,
    ) -> control.LoadAnswer:
        """Load a file or folder of the service's machine, and route to it; without `route` beside what serves.
        `allow_code`: it may be a Python function, which runs as the service's user."""
        body = {"path": str(path), "config": dict(config or {}), "force": force, **_code(allow_code), **_beside(route)}
        path = f"/control/models/{model_path(name)}/load"
        return control.decode_load(await self.transport.json("POST", path, body, lasting=f"loading {name!r}"))

    async def stage(
        self,
        name: str,
        model: bytes | Path,
        config: Mapping[str, object] | None = None,
        *,
        sent: Callable[[int], object] | None = None,
        allow_code: bool = False,
        keep_s: float | None = None,
        route: bool = True,
    ) -> control.LoadAnswer:
        """Upload an ONNX file. It is loaded and warmed up; only requests that name its version reach it.

        After `keep_s` seconds the service discards it where it was not committed: then this process was killed.
        Without `route` it is to stay beside what serves, so a file that is loaded already is unchanged.
        `sent` is called with the size of each piece once it is sent. See `stage_path` for a file with others beside it.
        """
        if isinstance(model, Path) and not _can_be_read(model):
            raise InvalidInput(f"{str(model)!r} is not a readable file, so it cannot be uploaded")
        path = f"/control/models/{model_path(name)}/stage?config={quote(json.dumps(dict(config or {})))}"
        path += ("&allow_code=true" if allow_code else "") + ("" if route else "&beside=true")
        path += f"&keep_s={keep_s:g}" if keep_s else ""
        headers = {"Content-Type": "application/octet-stream"}
        upload = model if sent is None else CountedBody(model, sent)
        body, _ = await self.transport.lasting(f"loading {name!r}", HttpRequest("POST", path, upload, headers))
        return control.decode_load(self.transport.decoded(body))

    async def stage_path(
        self,
        name: str,
        path: Path,
        config: Mapping[str, object] | None = None,
        *,
        keep_s: float | None = None,
        route: bool = True,
    ) -> control.LoadAnswer:
        """The same with a file or folder of the service's machine, and with what lies beside it."""
        body: dict[str, object] = {"path": str(path), "config": dict(config or {}), "stage": True, **_beside(route)}
        body |= {"keep_s": keep_s} if keep_s else {}
        where = f"/control/models/{model_path(name)}/load"
        return control.decode_load(await self.transport.json("POST", where, body, lasting=f"loading {name!r}"))

    async def commit(
        self,
        name: str,
        version: str,
        *,
        force: bool = False,
        provenance: Provenance | None = None,
        route: bool = True,
    ) -> control.LoadAnswer:
        """Route to a staged version and drain the one before; without `route`, keep it loaded beside what serves.
        `provenance` is kept with it."""
        path = f"/control/models/{model_path(name, version)}/commit"
        body: dict[str, object] = {"force": force, **_beside(route)}
        if provenance is not None:
            body["provenance"] = json.loads(encode(provenance))
        return control.decode_load(
            await self.transport.json("POST", path, body, lasting=f"routing to {name!r}, version {version}")
        )

    async def discard(self, name: str, version: str) -> None:
        """Drop a staged version."""
        path = f"/control/models/{model_path(name, version)}/discard"
        await self.transport.json("POST", path, {}, lasting=f"dropping {name!r}, version {version}")

    async def unload(self, name: str, version: str | None = None) -> None:
        """Drain and unload every version, or one that does not serve."""
        path = f"/control/models/{model_path(name, version)}/unload"
        await self.transport.json("POST", path, {}, lasting=f"unloading {name!r}, after its requests")

    async def rollback(self, name: str) -> control.LoadAnswer:
        """Route to the version that served before again. Raises Conflict where there is none."""
        path = f"/control/models/{model_path(name)}/rollback"
        return control.decode_load(await self.transport.json("POST", path, {}, lasting=f"rolling back {name!r}"))

    async def label(self, name: str, labels: Mapping[str, str | None]) -> dict[str, str]:
        """Have each label point to its version; None takes one away. Return the labels from then on."""
        path = f"/control/models/{model_path(name)}/labels"
        answer = await self.transport.json("POST", path, dict(labels), lasting=f"labelling versions of {name!r}")
        return dict(answer["labels"])

    async def route(
        self,
        name: str,
        weights: Mapping[str, float] | None = None,
        *,
        by: str = "",
        shadow: Mapping[str, float] | None = None,
        keep_rows: int = 0,
        share: str = "",
        wait: bool = False,
        force: bool = False,
    ) -> tuple[control.LoadAnswer, dict[str, float]]:
        """Split the calls without a version by weight, or route all of them to one; have a shadow get copies of a part
        of them. What is None stays as it is. With `share`, a label or an id, the weights are those of its calls alone.
        Return the weights from then on, of all calls that no share's own weights are for."""
        path = f"/control/models/{model_path(name)}/route"
        body: dict[str, object] = {"by": by, "wait": wait, "force": force}
        if share:
            body["share"] = share
        if weights is not None:
            body["weights"] = dict(weights)
        if shadow is not None or keep_rows:
            body |= {"shadow": dict(shadow or {}), "keep_rows": keep_rows}
        answer = await self.transport.json("POST", path, body, lasting=f"routing calls of {name!r}")
        return control.decode_load(answer), dict(answer["weights"])

    async def start_rollout(
        self,
        name: str,
        version: str,
        *,
        steps: Sequence[float],
        every_s: float,
        guard: str,
        on_breach: str,
        least_calls: int,
        by: str = "",
    ) -> RolloutView:
        """Begin to give a version more and more of the calls, as long as its guard holds."""
        body = {"version": version, "steps": list(steps), "every_s": every_s, "guard": guard, "on_breach": on_breach}
        body |= {"least_calls": least_calls, "by": by}
        path = f"/control/models/{model_path(name)}/rollout"
        return control.decode_rollout(
            await self.transport.json("POST", path, body, lasting=f"beginning a rollout of {name!r}")
        )

    async def rollout(self, name: str) -> RolloutView:
        """The last rollout of a model. Raises NotFound."""
        return control.decode_rollout(await self.transport.json("GET", f"/control/models/{model_path(name)}/rollout"))

    async def rollouts(self) -> list[RolloutView]:
        """The last rollout of each model that had one."""
        return control.decode_rollouts(await self.transport.json("GET", "/control/rollouts"))

    async def stop_rollout(self, name: str) -> RolloutView:
        """End it: its version gets no calls but those that name it."""
        path = f"/control/models/{model_path(name)}/rollout/stop"
        return control.decode_rollout(
            await self.transport.json("POST", path, {}, lasting=f"stopping the rollout of {name!r}")
        )

    async def resume_rollout(self, name: str) -> RolloutView:
        """Begin the step again in which it was halted."""
        path = f"/control/models/{model_path(name)}/rollout/resume"
        return control.decode_rollout(
            await self.transport.json("POST", path, {}, lasting=f"resuming the rollout of {name!r}")
        )

    async def shadow(self, name: str) -> tuple[ShadowFigures, list[ShadowExample]]:
        """What the shadow of a model has shown, and the rows that differ most, if they are kept. Raises NotFound."""
        path = f"/control/models/{model_path(name)}/route?examples=true"
        figures, examples = decode_shadow(await self.transport.json("GET", path))
        if figures is None:
            raise NotFound(
                f"no calls of model {name!r} are copied: have a version get copies of a part of them, as by "
                f"%infer route {name} --shadow v2=25%"
            )
        return figures, examples

    async def versions(self, name: str) -> VersionOverview:
        """All versions of a model that are loaded or kept, and which served when. Raises ModelNotFound."""
        return control.decode_versions(await self.transport.json("GET", f"/control/models/{model_path(name)}/versions"))

    async def configure(self, name: str, settings: Mapping[str, object]) -> control.LoadAnswer:
        """Change settings: live where possible, else by a reload in the background."""
        path = f"/control/models/{model_path(name)}/set"
        return control.decode_load(
            await self.transport.json("POST", path, dict(settings), lasting=f"changing settings of {name!r}")
        )

    # What the service measures and logs

    async def files(self, name: str, version: str) -> dict[str, int]:
        """Return the files of one version: path -> bytes, the model's own first. Needs the scope `admin`."""
        found = await self.transport.json(
            "GET", f"/control/models/{model_path(name)}/files?version={check_model_version(version)}"
        )
        return {str(each["path"]): int(each["size_bytes"]) for each in found["files"]}

    async def slowest(
        self, name: str, since: float | None = None, until: float | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the slowest requests of the last 15 minutes, the slowest first; docs/metrics.md lists their fields.

        `since` and `until`, Unix times, select those that ended in between.
        """
        asked = {"since": since, "until": until, "limit": limit}
        query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
        return list(
            await self.transport.json(
                "GET", f"/control/models/{model_path(name)}/slowest" + (f"?{query}" if query else "")
            )
        )

    async def figures(self, window_s: float = 60.0) -> dict[str, Any]:
        """Return the models' figures of the last `window_s` seconds, 1 to 900; docs/http.md lists the fields."""
        return dict(await self.transport.json("GET", f"/control/figures?window={window_s:g}"))

    async def logs(self, lines: int = 100) -> list[str]:
        """Return the last log lines."""
        return list((await self.transport.json("GET", f"/control/logs?lines={int(lines)}"))["lines"])

    # Shares

    async def share(self, terms: Mapping[str, object]) -> Share:
        """Make a share; `terms` as `POST /control/shares` takes them."""
        return share_of(await self.transport.json("POST", "/control/shares", terms))

    async def shares(self) -> ShareTable:
        """All shares, also those that ended in the last 30 days."""
        return table_of(await self.transport.json("GET", "/control/shares"))

    async def revoke(self, share: str) -> None:
        """End the share with this id or label."""
        await self.transport.json("DELETE", f"/control/shares/{quote(share, safe='')}")

    async def share_port(self) -> dict[str, Any] | None:
        """The port on a network that shares are called on, as `GET /control/share-port` tells it; None: none is."""
        found: dict[str, Any] | None = await self.transport.json("GET", "/control/share-port")
        return found

    async def open_share_port(self, terms: Mapping[str, object]) -> dict[str, Any]:
        """Open it; `terms` as `POST /control/share-port` takes them."""
        return dict(await self.transport.json("POST", "/control/share-port", terms))

    async def close_share_port(self) -> None:
        await self.transport.json("DELETE", "/control/share-port")

    async def audit(self, since: float = 0.0, limit: int = MOST) -> AuditTable:
        """What was done to the service at `since` (Unix time) or later, the latest `limit` of it."""
        return audit_of(await self.transport.json("GET", f"/control/audit?since={max(since, 0.0):.3f}&limit={limit}"))


def model_path(name: str, version: str | None = None) -> str:
    """Return the part of a path that names a model.

    Checked, because a slash, even quoted, would lead to another route.
    """
    path = check_model_name(name)
    return path if version is None else f"{path}/versions/{check_model_version(version)}"


def _code(allow: bool) -> dict[str, bool]:
    """What a load says of code; nothing where it is not allowed, since older services do not know the word."""
    return {"allow_code": True} if allow else {}


def _beside(route: bool) -> dict[str, bool]:
    """The same of a load that nothing is routed to."""
    return {} if route else {"route": False}


def _can_be_read(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)
