"""Has the service serve a pipeline of its models."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence

from workbench.client.client import AsyncClient
from workbench.client.pipeline_wiring import wired
from workbench.client.results import LoadReport
from workbench.core.model import check_model_name
from workbench.core.pipeline_document import encode
from workbench.errors import WorkbenchError


async def load_pipeline(
    client: AsyncClient,
    name: str,
    models: Sequence[str],
    mapping: Mapping[str, str],
    settings: Mapping[str, object],
    *,
    force: bool = False,
) -> LoadReport:
    """Serve models that serve already, one after another, as `name`; see `client.pipeline_wiring.wired`.

    Raises InvalidInput where they do not fit each other, Conflict where inputs or outputs would change, unless `force`.
    """
    began = time.perf_counter()
    check_model_name(name)
    pipeline, signature = wired([await client.status(model) for model in models], mapping)
    joined = f"joined {' >> '.join(pipeline.labels)}"
    staged = await client.stage(name, encode(pipeline, signature), settings)
    if staged.unchanged:
        return LoadReport(staged.status, True, None, time.perf_counter() - began, joined)
    try:
        done = await client.commit(name, staged.status.version, force=force)
    except BaseException:
        with contextlib.suppress(WorkbenchError):
            await asyncio.shield(client.discard(name, staged.status.version))
        raise
    return LoadReport(done.status, False, done.previous, time.perf_counter() - began, joined)
