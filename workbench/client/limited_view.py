"""What a token that may only call models learns of them, as a share's: the protocol's metadata, as statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from workbench.core.model import ModelState, ModelStatus
from workbench.errors import Unavailable
from workbench.protocols.metadata import decode_status


class ProtocolClient(Protocol):
    """The part of `AsyncClient` that any token will do for."""

    @property
    def url(self) -> str: ...

    async def metadata(self, model: str, version: str | None = None) -> dict[str, Any]: ...
    async def configuration(self, model: str, version: str | None = None) -> dict[str, Any]: ...
    async def index(self, *, ready: bool = False) -> Sequence[Mapping[str, str]]: ...


async def status(client: ProtocolClient, model: str, version: str | None) -> ModelStatus:
    """The version that serves, or the one named: its signature, largest batch, labels and epoch.

    Raises ModelNotFound, and Forbidden for a model that the token is not for.
    """
    # Before the metadata: of a model that is replaced in between, the epoch is then the old one, which the answers
    # contradict.
    configuration = await client.configuration(model, version)
    metadata = await client.metadata(model, version)
    try:
        return decode_status(metadata, configuration, version)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Unavailable(f"what answers at {client.url} does not describe its models as the protocol does") from None


async def statuses(client: ProtocolClient) -> list[ModelStatus]:
    """Those of all models that it may call and that are ready: name and version."""
    found = await client.index(ready=True)
    return [ModelStatus(each["name"], each["version"], ModelState.READY) for each in found]
