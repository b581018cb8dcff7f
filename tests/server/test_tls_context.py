"""The certificate of a port: what is refused at the start, and what becomes of files that are replaced."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest
import trustme

from tests.helpers.certificates import issued
from workbench.errors import InvalidInput
from workbench.server.tls_context import CertificateFiles, ServerTls


def tls_of(folder: Path) -> ServerTls:
    return ServerTls(CertificateFiles(folder / "cert.pem", folder / "key.pem"), ["http/1.1"])


def served_by(tls: ServerTls, authority: trustme.CA) -> bool:
    """Whether a client that trusts this authority is served, in memory."""
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    client = client_side.wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError:
            return False
    return client.getpeercert() is not None


@pytest.mark.parametrize(
    ("from_days", "days", "said"), [(-3, -1, "it has expired"), (1, 3, "it is not valid yet")], ids=["old", "early"]
)
def test_a_certificate_that_every_client_would_refuse_is_refused(
    tmp_path: Path, from_days: float, days: float, said: str
) -> None:
    issued(trustme.CA(), tmp_path, days=days, from_days=from_days)
    with pytest.raises(InvalidInput, match=said):
        tls_of(tmp_path)


def test_a_key_of_another_certificate_and_a_file_that_is_missing_are_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    pair = issued(authority, tmp_path)
    other = issued(authority, tmp_path / "other")
    with pytest.raises(InvalidInput, match=r"--tls-key '.*other/key.pem' cannot be used: KEY_VALUES_MISMATCH"):
        ServerTls(CertificateFiles(pair.cert, other.key), ["http/1.1"])
    with pytest.raises(InvalidInput, match=r"missing.pem.* cannot be used: No such file"):
        ServerTls(CertificateFiles(tmp_path / "missing.pem", pair.key), ["http/1.1"])


def test_one_that_ends_soon_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    issued(trustme.CA(), tmp_path, days=3)
    with caplog.at_level(logging.WARNING, "workbench.server"):
        tls_of(tmp_path)
    assert "ends in 3.0 days" in caplog.text


def test_files_that_were_replaced_are_taken(tmp_path: Path) -> None:
    before, after = trustme.CA(), trustme.CA()
    issued(before, tmp_path)
    tls = tls_of(tmp_path)
    assert served_by(tls, before)
    assert not tls.renew()
    issued(after, tmp_path)
    assert tls.renew()
    assert served_by(tls, after)
    assert not served_by(tls, before)


def test_what_is_wrong_with_new_files_is_said_once_and_the_certificate_of_before_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = trustme.CA()
    pair = issued(authority, tmp_path)
    tls = tls_of(tmp_path)
    key = pair.key.read_bytes()
    pair.key.write_text("half a key")
    with caplog.at_level(logging.WARNING, "workbench.server"):
        assert not tls.renew()
        assert not tls.renew()
    assert caplog.text.count("is not taken") == 1
    assert served_by(tls, authority)
    pair.key.write_bytes(key)
    assert tls.renew()


def test_no_client_negotiates_anew_without_end(tmp_path: Path) -> None:
    issued(trustme.CA(), tmp_path)
    context = tls_of(tmp_path).context
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
