"""What watches an attack sees one that succeeds."""

from __future__ import annotations

import signal
import time

import pytest

from tests.security.watched_service import Watched

pytestmark = pytest.mark.serial


def test_a_service_that_stands_still_is_seen(attacked: Watched) -> None:
    with attacked.attack() as seen:
        attacked.worker.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        attacked.worker.send_signal(signal.SIGCONT)
    assert seen.longest_stall_s > 0.2
    with pytest.raises(AssertionError, match="answered late"):
        seen.others_were_served()
