"""Certificates for services of the tests, as files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path

    @property
    def flags(self) -> list[str]:
        return ["--tls-cert", str(self.cert), "--tls-key", str(self.key)]


def issued(authority: trustme.CA, folder: Path, *names: str, days: float = 365, from_days: float = -1) -> Pair:
    """Write one that is valid from `from_days` on until `days` from now; it replaces the one before it."""
    now = datetime.now(UTC)
    leaf = authority.issue_cert(
        *(names or ("localhost", "127.0.0.1")),
        not_before=now + timedelta(days=from_days),
        not_after=now + timedelta(days=days),
    )
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder / "cert.pem", folder / "key.pem")
    (folder / "new.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(folder / "new-key.pem")
    (folder / "new-key.pem").replace(pair.key)
    (folder / "new.pem").replace(pair.cert)
    return pair
