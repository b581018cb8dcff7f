"""Who goes when there are too many connections."""

from __future__ import annotations

import pytest

from workbench.server.gate.connection_caps import UNNAMED, ConnectionCaps, Place, address_of


class Connections:
    """Places taken one after another, named by a count."""

    def __init__(self, caps: ConnectionCaps) -> None:
        self.caps = caps
        self.evicted: list[int] = []
        self.places: list[Place] = []

    def take(self, peer: str) -> Place:
        place = self.caps.take(peer)
        assert place is not None
        number = len(self.places)
        place.evict = lambda: self.evicted.append(number)
        self.places.append(place)
        return place


def test_the_oldest_stranger_of_the_address_with_most_makes_room() -> None:
    connections = Connections(ConnectionCaps(5, 5))
    for peer in "ownbbo":  # o has two, b has two, w and n one
        connections.take({"o": "10.0.0.1", "w": "10.0.0.2", "n": "10.0.0.3", "b": "10.0.0.4"}[peer])
    assert connections.evicted == [3]
    assert connections.caps.open == 5


def test_one_address_has_a_cap_of_its_own_and_is_the_one_that_makes_room() -> None:
    connections = Connections(ConnectionCaps(100, 3))
    connections.take("10.0.0.9")
    for _ in range(5):
        connections.take("10.0.0.1")
    assert connections.evicted == [1, 2]
    assert connections.caps.open == 4


def test_who_has_shown_a_token_counts_under_no_address_and_never_goes() -> None:
    connections = Connections(ConnectionCaps(4, 2))
    for _ in range(4):
        place = connections.take("10.0.0.1")
        place.trust()
        place.trust()
    assert connections.evicted == []
    assert connections.caps.take("10.0.0.2") is None
    connections.places[0].release()
    connections.places[0].release()
    assert connections.caps.open == 3
    assert connections.caps.take("10.0.0.2") is not None


def test_who_has_shown_a_token_that_was_replaced_is_a_stranger_again() -> None:
    connections = Connections(ConnectionCaps(3, 3))
    first, second = (connections.take(f"10.0.0.{number}") for number in (1, 2))
    for place in (first, second):
        place.trust()
    connections.take("10.0.0.3").trust()
    assert connections.caps.take("10.0.0.4") is None
    first.distrust()
    second.distrust()
    second.trust()
    connections.take("10.0.0.4")
    assert connections.evicted == [0]
    first.release()
    first.distrust()  # it has ended
    assert connections.caps.open == 3


def test_one_that_was_closed_is_counted_no_more_whatever_it_does() -> None:
    caps = ConnectionCaps(1, 1)
    first = caps.take("10.0.0.1")
    second = caps.take("10.0.0.1")
    assert first is not None
    assert second is not None
    first.trust()
    first.release()
    assert caps.open == 1
    assert caps.close_a_stranger("of a test")
    assert not caps.close_a_stranger("of a test")
    assert caps.open == 0


def test_what_is_closed_and_refused_is_logged_in_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    caps = ConnectionCaps(2, 2)
    for _ in range(1000):
        caps.take("10.0.0.1")
    assert len(caplog.records) == 1
    assert "max_connections_per_address" in caplog.text
    assert "10.0.0.1" in caplog.text


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("127.0.0.1", 4711), "127.0.0.1"),
        (("::1", 4711, 0, 0), "::/64"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (("::ffff:10.1.2.3", 1, 0, 0), "10.1.2.3"),
        ("", UNNAMED),
        (b"", UNNAMED),
    ],
)
def test_an_address_is_what_one_subscriber_has(address: object, expected: str) -> None:
    assert address_of(address) == expected


def test_guests_are_kept_for_others_up_to_half_of_all_connections() -> None:
    """So that whoever has a share's token cannot keep the owner out with idle connections."""
    connections = Connections(ConnectionCaps(6, 6))
    for _ in range(6):
        place = connections.take("10.0.0.1")
        place.trust(guest=True)
        place.trust(guest=True)
    assert connections.caps.guests == 3
    for expected in ([3], [3, 4], [3, 4, 5]):
        connections.take("10.0.0.2").trust()
        assert connections.evicted == expected
    assert connections.caps.take("10.0.0.3") is None
    connections.places[0].release()
    connections.places[1].distrust()
    connections.places[2].trust()  # the owner's token came on it
    assert connections.caps.guests == 0
    connections.places[2].release()
    assert connections.caps.guests == 0
