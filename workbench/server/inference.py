"""What an inference over HTTP and one over gRPC have in common around the engine."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.core.messages import InferResponse
from workbench.engine import Engine
from workbench.engine.deployment import outcome_of
from workbench.errors import WorkbenchError
from workbench.protocols.classification import classified
from workbench.protocols.status_codes import UNFORESEEN
from workbench.server.service import Service
from workbench.telemetry.request_record import LONGEST_MESSAGE, RequestRecord

LARGE_BODY = 1024 * 1024
"""Bytes from which a body is decoded on a thread, so that the event loop has its turns meanwhile."""

SHUTTING_DOWN = "the service is shutting down; call again once another runs"


def in_classes(engine: Engine, response: InferResponse, classes: Mapping[str, int]) -> InferResponse:
    """`response` with its outputs as the largest elements where that was asked for; see `classified`."""
    status = engine.status(response.model, response.version)
    labels = engine.labels(status.name, status.version)
    return classified(response, classes, batched=status.max_batch_size > 0, labels=labels)


def note_failed(service: Service, exchange: RequestRecord, error: Exception) -> None:
    """The engine counts what it was given; what never got there is counted here. Only models that exist become
    labels."""
    known = error if isinstance(error, WorkbenchError) else WorkbenchError(UNFORESEEN)
    exchange.error, exchange.message = known.code, known.message[:LONGEST_MESSAGE]
    try:
        exchange.version = service.engine.status(exchange.model, exchange.version or None).version
    except WorkbenchError:
        exchange.version = ""
    if exchange.version and not exchange.decoded_at:
        outcome = outcome_of(known)
        service.metrics.request_done(exchange.model, exchange.version, outcome, None)
    service.metrics.exchange_done(exchange)
