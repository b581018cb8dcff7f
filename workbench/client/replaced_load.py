"""Says, after a load, that a version which another notebook had loaded is not served any more. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from workbench.core.audit_entry import AuditEntry

_KERNEL = re.compile(r"\(kernel(?: of (?P<notebook>.+))?; pid (?P<pid>\d+)\)$")


def load_of(history: Sequence[AuditEntry], version: str) -> AuditEntry | None:
    """The load that a version came by; None if it is not written down."""
    which = re.compile(rf"version {re.escape(version)}\b")
    loads = [
        entry
        for entry in history
        if entry.action in ("load", "commit") and which.match(entry.detail) and not entry.detail.endswith(", unchanged")
    ]
    return loads[-1] if loads else None


def replaced_note(name: str, version: str, history: Sequence[AuditEntry], own_agent: str, now: float) -> str:
    """Whose version was replaced and when it was loaded; empty where that was no other notebook."""
    entry = load_of(history, version)
    theirs = _KERNEL.search(entry.agent) if entry is not None else None
    if entry is None or theirs is None:
        return ""
    own = _KERNEL.search(own_agent)
    if own is not None and (own["pid"] == theirs["pid"] or (own["notebook"] and own["notebook"] == theirs["notebook"])):
        return ""
    who = theirs["notebook"] or "another notebook"
    return (
        f"version {version} was loaded by {who}, {_moment(entry.at, now)}: its calls get the new answers now; "
        f"%infer rollback {name} goes back"
    )


def _moment(at: float, now: float) -> str:
    """`14:03`, with the day unless it is today."""
    then = time.localtime(at)
    today = then[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)
