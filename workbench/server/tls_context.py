"""The TLS of a listening port: reads a certificate and its key, says what is wrong with them, and follows renewals.

OpenSSL loads an expired certificate without a word, and each client then fails. So files are tried in a handshake in
memory before they are served with. Files that were replaced are taken without a restart; what is wrong with them is
logged, and the certificate of before goes on.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from workbench.errors import InvalidInput

LOOK_S: Final = 2.0
"""How often the files are looked at for another certificate."""

SOON_S: Final = 14 * 86_400.0
"""A certificate that ends within this time is warned of."""

HTTP_FLAGS: Final = "--tls-cert", "--tls-key", "--grpc-tls-client-ca"
GRPC_FLAGS: Final = "--grpc-tls-cert", "--grpc-tls-key", "--grpc-tls-client-ca"

_REFUSED: Final = {
    9: "it is not valid yet",
    10: "it has expired",
    26: "it was not issued for servers",
}
"""By OpenSSL's X509_V_ERR_*. Other doubts are the client's to judge: whom it trusts, and under which name it calls."""

log = logging.getLogger("workbench.server")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate with its chain, its private key, and whose certificates are asked of clients; PEM."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    flags: tuple[str, str, str] = HTTP_FLAGS
    """What messages call them."""


@dataclass(slots=True, eq=False)
class ServerTls:
    """The context of one port. InvalidInput for files that cannot be used."""

    files: CertificateFiles
    alpn: Sequence[str]
    context: ssl.SSLContext = field(init=False)
    ends_at: float = field(init=False)
    """Unix time from which on the certificate is not valid."""
    _seen: tuple[tuple[int, int, int], ...] = field(init=False)
    _refused: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._seen = self._look()
        self.context = _context(self.files)
        self.ends_at = _end_of(self.files)
        self.context.set_alpn_protocols(list(self.alpn))
        self._warn_of_end()

    def renew(self) -> bool:
        """Take the files if they were replaced; whether they were. Connections that are open keep what they have."""
        seen = self._look()
        if seen == self._seen:
            return False
        files = self.files
        try:
            _context(files)
            ends_at = _end_of(files)
            self.context.load_cert_chain(files.cert, files.key, password="")
        except (InvalidInput, OSError, ValueError) as error:
            # The two files are replaced one after the other, so they may fit each other at the next look.
            why = str(error)
            if why != self._refused:
                log.warning("a new TLS certificate is not taken, and the one before is served on: %s", why)
            self._refused = why
            return False
        self._seen, self._refused, self.ends_at = seen, "", ends_at
        log.info("a new TLS certificate is served: %s", files.cert)
        self._warn_of_end()
        return True

    async def follow(self) -> None:
        """Renew it whenever its files are replaced, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.renew)

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        """What tells that a file was replaced, or a link to it (as Kubernetes mounts a secret)."""
        try:
            found = [path.stat() for path in (self.files.cert, self.files.key)]
        except OSError:
            return ()
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)

    def _warn_of_end(self) -> None:
        left_s = self.ends_at - time.time()
        if left_s < SOON_S:
            log.warning(
                "the TLS certificate %s ends in %.1f days: replace the file, which is followed without a restart",
                self.files.cert,
                left_s / 86_400,
            )


def _context(files: CertificateFiles) -> ssl.SSLContext:
    """InvalidInput."""
    cert_flag, key_flag, ca_flag = files.flags
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could have the service negotiate without end
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(files.cert, files.key, password="")
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{cert_flag} {str(files.cert)!r} and {key_flag} {str(files.key)!r} cannot be used: {_why(error)}; "
            "they take a certificate and its private key without a password, as PEM"
        ) from None
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"{ca_flag} {str(files.client_ca)!r} cannot be used: {_why(error)}; it takes certificates as PEM"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _end_of(files: CertificateFiles) -> float:
    """Until when clients take the certificate, in Unix time. InvalidInput where they do not now."""
    server_side = _context(CertificateFiles(files.cert, files.key, flags=files.flags))
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    client_side.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever signed it, it is trusted here
    try:
        client_side.load_verify_locations(files.cert)
        found = _handshake(server_side, client_side)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _REFUSED:
            raise InvalidInput(
                f"{files.flags[0]} {str(files.cert)!r} cannot be used: {_REFUSED[error.verify_code]}, so every client "
                "would refuse it; give a certificate that is valid now"
            ) from None
        return float("inf")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{files.flags[0]} {str(files.cert)!r} cannot be used: {_why(error)}") from None
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))


def _handshake(server_side: ssl.SSLContext, client_side: ssl.SSLContext) -> dict[str, object]:
    """Connect the two in memory; the certificate as the client sees it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    client = client_side.wrap_bio(to_client, to_server)
    for _ in range(8):
        done = 0
        for side in (client, server):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        if done == 2:
            break
    found: dict[str, object] = dict(client.getpeercert() or {})
    return found


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
