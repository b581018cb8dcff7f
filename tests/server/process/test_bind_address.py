"""Which connections come from other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.config import OWNER_ADDRESSES, ServerConfig
from workbench.errors import InvalidInput
from workbench.server.process.bind_address import remote_test


@pytest.mark.parametrize(
    ("owner_addresses", "address", "remote"),
    [
        (OWNER_ADDRESSES, "127.0.0.1", False),
        (OWNER_ADDRESSES, "127.9.9.9", False),
        (OWNER_ADDRESSES, "::1", False),
        (OWNER_ADDRESSES, "::ffff:127.0.0.1", False),
        (OWNER_ADDRESSES, "10.9.9.9", True),
        (OWNER_ADDRESSES, "::ffff:10.9.9.9", True),
        (OWNER_ADDRESSES, "fe80::1%eth0", True),
        (OWNER_ADDRESSES, "2001:db8::1", True),
        (OWNER_ADDRESSES, "", True),
        (OWNER_ADDRESSES, "no address", True),
        ("127.0.0.0/8, ::1, 172.17.0.0/16", "172.17.0.2", False),
        ("172.17.0.2", "172.17.0.3", True),
        ("172.17.0.2", "127.0.0.1", True),
        ("", "127.0.0.1", True),
    ],
)
def test_the_address_that_was_called_tells(tmp_path: Path, owner_addresses: str, address: str, remote: bool) -> None:
    test = remote_test(ServerConfig(host="0.0.0.0", owner_addresses=owner_addresses, data_dir=tmp_path))
    assert test is not None
    assert test(address, "192.0.2.7") is remote


@pytest.mark.parametrize(
    ("address", "caller", "remote"),
    [
        ("10.9.9.9", "10.9.9.9", False),
        ("::ffff:10.9.9.9", "10.9.9.9", False),
        ("10.9.9.9", "10.9.9.8", True),
        ("10.9.9.9", "127.0.0.1", True),
        ("", "", True),
        ("no address", "no address", True),
    ],
)
def test_who_calls_from_the_address_that_it_calls_is_on_this_machine(
    tmp_path: Path, address: str, caller: str, remote: bool
) -> None:
    test = remote_test(ServerConfig(host="10.9.9.9", data_dir=tmp_path))
    assert test is not None
    assert test(address, caller) is remote


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_nothing_is_asked(tmp_path: Path, host: str) -> None:
    assert remote_test(ServerConfig(host=host, data_dir=tmp_path)) is None


@pytest.mark.parametrize("text", ["here", "127.0.0.1/33", "10.0.0.0/8;::1"])
def test_what_is_no_network_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"owner_addresses must be networks such as '127.0.0.0/8 ::1', got"):
        ServerConfig(owner_addresses=text, data_dir=tmp_path)
