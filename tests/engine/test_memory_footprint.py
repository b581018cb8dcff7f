from __future__ import annotations

from workbench.engine.memory_footprint import Footprints, resident_bytes


class Process:
    resident = 100

    def __call__(self) -> int:
        return self.resident


def test_a_lone_load_is_what_the_process_grew_by() -> None:
    process = Process()
    load = Footprints(process).begin()
    process.resident = 175
    assert load.end() == 75


def test_of_loads_side_by_side_nothing_can_be_told() -> None:
    process = Process()
    loads = Footprints(process)
    first, second = loads.begin(), loads.begin()
    process.resident = 175
    assert first.end() is None
    process.resident = 200
    assert second.end() is None
    third = loads.begin()
    process.resident = 210
    assert third.end() == 10


def test_a_load_that_lived_on_memory_given_back_tells_nothing() -> None:
    process = Process()
    load = Footprints(process).begin()
    process.resident = 90
    assert load.end() is None


def test_this_process_holds_memory() -> None:
    assert resident_bytes() > 1_000_000
