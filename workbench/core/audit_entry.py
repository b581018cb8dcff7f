"""What the audit says of one action: the same in the service's file, on the wire and in a client's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action, or refusals that are alike."""

    at: float
    """Unix time at which it ended; of several the last."""
    action: str
    subject: str
    """What it was done to: a model, a share's label; empty where that is not known."""
    detail: str
    outcome: str
    """`ok`, or the code of the error."""
    who: str
    """`owner`, the label of a share, or `anyone`: without a token that is known; `service`: nobody asked for it."""
    way: str
    """`http`, `grpc`, or `jupyter`: over HTTP by way of a Jupyter server; `service` as above."""
    address: str
    agent: str
    """What the caller says that it is: its User-Agent."""
    count: int = 1
    since: float = 0.0
    """Of several refusals, when the first was; else 0."""
