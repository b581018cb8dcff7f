"""Whom a client trusts when it calls a service with TLS: the authorities of a file, or those of the machine."""

from __future__ import annotations

import ssl
from pathlib import Path

from workbench.errors import InvalidInput


def client_context(ca_file: str, own: bool) -> ssl.SSLContext:
    """The TLS of a client. `ca_file` has authorities as PEM, or the service's own certificate; InvalidInput where it
    cannot be read.

    `own`: it is a service of this user on this machine, which is called by its address, whatever its certificate says;
    whose process answers there is looked at beside that.
    """
    context = ssl.create_default_context()
    if ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a certificate that is trusted itself needs no authority
        context.check_hostname = not own
        trust(context, ca_file)
    return context


def trust(context: ssl.SSLContext, ca_file: str) -> None:
    """Trust what is in the file now, too: a certificate may have been renewed."""
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:
        raise _unusable(ca_file, error) from None


def pem_of(ca_file: str) -> bytes | None:
    """The file's content, for gRPC; None where none is given."""
    try:
        return Path(ca_file).read_bytes() if ca_file else None
    except OSError as error:
        raise _unusable(ca_file, error) from None


def _unusable(ca_file: str, error: Exception) -> InvalidInput:
    why = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return InvalidInput(f"ca_file {ca_file[:200]!r} cannot be used: {why}; it takes certificates as PEM")
