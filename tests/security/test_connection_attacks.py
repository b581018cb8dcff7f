"""What one stranger does with connections, beside others who are served."""

from __future__ import annotations

import pytest

from tests.security.attackers import connect, push
from tests.security.watched_service import MB, Watched

pytestmark = pytest.mark.serial

TINY = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
def test_ten_megabytes_of_tiny_requests_on_one_connection(attacked: Watched, read: bool) -> None:
    with attacked.attack() as seen, connect(attacked.serve.address) as stranger:
        push(stranger, TINY * (10 * MB // len(TINY)), 2.0, read=read)
    seen.others_were_served()
    assert seen.grown_bytes < 50 * MB, seen
