"""`serve --tls self-signed`: the authority lasts, the certificate is renewed, and damaged files are made anew."""

from __future__ import annotations

import socket
import ssl
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests import models
from tests.helpers.service_process import Serve
from tests.server.real_service import serving
from workbench.cli import main
from workbench.errors import Unsupported
from workbench.server.self_signed import RENEW_DAYS, SERVER_DAYS, ensure_self_signed, fingerprint, names_of
from workbench.server.tls_context import CertificateFiles, ServerTls

NOW = datetime.now(UTC)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def made(folder: Path, host: str = "127.0.0.1", now: datetime = NOW) -> dict[str, bytes]:
    ensure_self_signed(folder, host, now)
    return contents(folder)


def test_files_that_are_good_are_kept_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    first = made(folder)
    assert first.keys() == {"ca.pem", "ca-key.pem", "server.pem"}
    assert made(folder) == first
    assert made(folder, now=NOW + timedelta(days=SERVER_DAYS - RENEW_DAYS - 1)) == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("host", "days"), [("127.0.0.1", SERVER_DAYS - RENEW_DAYS + 1), ("models.example.org", 0)], ids=["time", "name"]
)
def test_a_certificate_is_renewed_before_it_ends_and_for_another_name_and_callers_notice_nothing(
    tmp_path: Path, host: str, days: int
) -> None:
    first = made(tmp_path)
    second = made(tmp_path, host, NOW + timedelta(days=days))
    assert second["server.pem"] != first["server.pem"]
    assert second["ca.pem"] == first["ca.pem"]
    assert second["ca-key.pem"] == first["ca-key.pem"]


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "server.pem"])
@pytest.mark.parametrize("damage", [b"", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", None])
def test_a_file_that_is_damaged_or_gone_is_made_anew(tmp_path: Path, name: str, damage: bytes | None) -> None:
    made(tmp_path)
    if damage is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(damage)
    ensure_self_signed(tmp_path, "127.0.0.1")
    after = contents(tmp_path)
    assert made(tmp_path) == after
    file = tmp_path / "server.pem"
    assert ServerTls(CertificateFiles(file, file), ["http/1.1"]).ends_at > NOW.timestamp()


def test_the_file_of_another_authority_is_not_served_with_this_one(tmp_path: Path) -> None:
    """As after a restore of half a backup."""
    made(tmp_path / "one")
    made(tmp_path / "two")
    (tmp_path / "two" / "server.pem").write_bytes((tmp_path / "one" / "server.pem").read_bytes())
    before = contents(tmp_path / "two")
    assert made(tmp_path / "two")["server.pem"] != before["server.pem"]


def test_names_are_those_that_callers_use() -> None:
    assert {"localhost", "127.0.0.1", "::1"} <= names_of("127.0.0.1")
    assert "models.example.org" in names_of("Models.Example.org")
    everywhere = names_of("0.0.0.0")
    assert "0.0.0.0" not in everywhere
    assert socket.gethostname().lower() in everywhere
    assert not [name for name in everywhere if "%" in name]


def test_the_fingerprint_is_the_one_that_other_tools_show(tmp_path: Path) -> None:
    text = made(tmp_path)["ca.pem"]
    (tmp_path / "ca.pem").write_bytes(b"Subject: as some tools write it above\n" + text)
    expected = x509.load_pem_x509_certificate(text).fingerprint(SHA256()).hex(":").upper()
    assert fingerprint(tmp_path / "ca.pem") == expected


def test_without_the_library_one_line_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(Unsupported, match=r"--tls self-signed: .*pip install cryptography"):
        ensure_self_signed(tmp_path / "tls", "127.0.0.1")
    assert not (tmp_path / "tls").exists()


def test_it_contradicts_a_certificate_that_was_given(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--tls", "self-signed", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]
    assert main(["serve", "--data-dir", str(tmp_path / "data"), *flags]) == 2
    assert "contradict each other" in capfd.readouterr().err


def verified(serve: Serve, ca_file: Path) -> bool:
    """Whether a client that knows only this file is answered, by address and by name."""
    context = ssl.create_default_context(cafile=ca_file)
    port = int(str(serve.published["url"]).rpartition(":")[2])
    for host in ("127.0.0.1", "localhost"):
        with (
            socket.create_connection(("127.0.0.1", port), 30) as raw,
            context.wrap_socket(raw, server_hostname=host) as tls,
        ):
            tls.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if not tls.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n"):
                return False
    return True


def test_a_caller_with_its_authority_is_answered_also_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served, handed_out = {"echo": models.identity(shape=("batch", "n"))}, tmp_path / "handed-out.pem"
    with serving(tmp_path, served, "--tls", "self-signed") as serve:
        ca_file = Path(serve.published["ca_file"])
        assert ca_file == serve.data_dir / "tls" / "ca.pem"
        handed_out.write_bytes(ca_file.read_bytes())
        assert verified(serve, handed_out)
        assert main(["models", "--ready-file", str(serve.ready_file)]) == 0
        assert "echo" in capsys.readouterr().out
        assert serve.stop() == 0
    with serving(tmp_path, served, "--tls", "self-signed") as serve:
        assert verified(serve, handed_out)
