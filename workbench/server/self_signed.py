"""Makes the certificate of a service that has none: an authority of its own that lasts, and a certificate signed by it.

Clients are given the authority's file, `ca.pem`. So the certificate can be renewed, also for other names and addresses
of the machine, without a word to anybody. Key and certificate lie in one file, which is replaced in one step.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from workbench.errors import StorageError, Unsupported
from workbench.rendezvous.atomic_files import write_private
from workbench.server.process.startup import CA_FILE, SERVER_FILE

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

CA_KEY_FILE: Final = "ca-key.pem"

CA_DAYS: Final = 3650
SERVER_DAYS: Final = 397
"""The longest that every client takes."""

RENEW_DAYS: Final = 60
"""Left of a certificate when it is renewed, and of the authority when another one takes its place."""

LOOK_S: Final = 3600.0

INSTALL: Final = "making a certificate needs cryptography: pip install cryptography"

log = logging.getLogger("workbench.server")


def ensure_self_signed(folder: Path, host: str, now: datetime | None = None) -> None:
    """Have the files in `folder` that a service bound to `host` is served with: those that are there and still good, or
    new ones. Unsupported without the library that makes them, StorageError where they cannot be written."""
    try:
        import cryptography  # noqa: F401 - looked for before anything is made
    except ImportError:
        raise Unsupported(f"--tls self-signed: {INSTALL}, or give --tls-cert and --tls-key") from None
    now = now or datetime.now(UTC)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise StorageError(f"the folder {str(folder)!r} cannot be made: {error.strerror}") from None
    authority = _read(folder / CA_FILE, folder / CA_KEY_FILE, now)
    names = names_of(host)
    if authority is None:
        authority = _make_authority(folder, now)
        log.info(
            "a certificate authority of this service alone was made; give its file to callers",
            extra={"fields": {"ca_file": str(folder / CA_FILE), "sha256": fingerprint(folder / CA_FILE)}},
        )
    found = _read(folder / SERVER_FILE, folder / SERVER_FILE, now)
    if found is None or found[0].issuer != authority[0].subject or not names <= _names_in(found[0]):
        _make_certificate(folder, authority, names, now)


async def keep_self_signed(folder: Path, host: str) -> None:
    """Renew the certificate in time, until this is cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await asyncio.to_thread(ensure_self_signed, folder, host)
        except StorageError as error:
            log.warning("the TLS certificate is not renewed: %s", error.message)


def fingerprint(path: Path) -> str:
    """SHA-256 of the first certificate in the file, as `openssl x509 -fingerprint -sha256` writes it."""
    text = path.read_text(encoding="ascii")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    der = ssl.PEM_cert_to_DER_cert(begin + text.partition(begin)[2].partition(end)[0] + end)
    return hashlib.sha256(der).digest().hex(":").upper()


def names_of(host: str) -> set[str]:
    """Names and addresses under which a service that is bound to `host` is called, from this machine and others."""
    found = {"localhost", "127.0.0.1", "::1", socket.gethostname().lower()}
    bare = host.strip("[]").lower()
    if bare in ("", "0.0.0.0", "::"):
        for addresses in psutil.net_if_addrs().values():
            found |= {each.address for each in addresses if each.family in (socket.AF_INET, socket.AF_INET6)}
    else:
        found.add(bare)
    return {name for name in found if name and "%" not in name}  # with a %, it holds on one link alone


def _read(cert: Path, key: Path, now: datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey] | None:
    """None where they are not there, cannot be read, do not fit each other, or are about to end."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = x509.load_pem_x509_certificate(cert.read_bytes())
        private = load_pem_private_key(key.read_bytes(), None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        log.warning("the TLS file %s is made anew, since it cannot be read: %s", cert.name, error)
        return None
    left = found.not_valid_after_utc - now
    if left < timedelta(days=RENEW_DAYS) or found.not_valid_before_utc > now:
        return None
    if not isinstance(private, EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        return None
    return found, private


def _names_in(certificate: x509.Certificate) -> set[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(each.value) for each in names}


def _make_authority(folder: Path, now: datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Workbench on {socket.gethostname()[:40]}, {x509.random_serial_number() % 0x100000000:08x}")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = _signed(
        (name, name, key, key), now, CA_DAYS, (x509.BasicConstraints(ca=True, path_length=0), True), (usage, True)
    )
    write_private(folder / CA_KEY_FILE, _private(key), durable=True)
    write_private(folder / CA_FILE, _public(certificate), durable=True)
    return certificate, key


def _make_certificate(
    folder: Path, authority: tuple[x509.Certificate, EllipticCurvePrivateKey], names: set[str], now: datetime
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    usages = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = _signed(
        (_name("Workbench"), issuer.subject, key, issuer_key),
        now,
        SERVER_DAYS,
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (usages, False),
        (x509.SubjectAlternativeName([_general(name) for name in sorted(names)]), False),
    )
    write_private(folder / SERVER_FILE, _public(certificate) + _private(key), durable=True)


def _signed(
    parties: tuple[x509.Name, x509.Name, EllipticCurvePrivateKey, EllipticCurvePrivateKey],
    now: datetime,
    days: int,
    *extensions: tuple[Any, bool],
) -> x509.Certificate:
    """A certificate of (subject, issuer, subject's key, issuer's key)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    subject, issuer, key, issuer_key = parties
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of callers differ
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, text[:64])])


def _general(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _public(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _private(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
