"""When something in a model repository is complete, by a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.repository.settled_changes import REST_S, FileMark, FolderChange, FolderListing, Listing, SettledChanges

NOW = 100_000.0
"""When a test begins, by both clocks."""


def mark(size: int = 1, at: float = NOW) -> FileMark:
    return FileMark(size, int(at * 1e9), int(at * 1e9))


OLD = mark(at=NOW - 60)


@dataclass
class Folder:
    """A model's folder that a test writes to, and the time."""

    changes: SettledChanges = field(init=False)
    versions: dict[str, dict[str, FileMark]] = field(default_factory=dict)
    beside: dict[str, FileMark] = field(default_factory=dict)
    now: float = NOW

    def __post_init__(self) -> None:
        self.changes = SettledChanges(self.listing)

    @property
    def listing(self) -> Listing:
        if not self.versions:
            return {}
        return {"m": FolderListing({each: dict(files) for each, files in self.versions.items()}, dict(self.beside))}

    def after(self, seconds: float) -> FolderChange | None:
        self.now += seconds
        found = self.changes.look(self.listing, self.now, self.now)
        assert len(found) < 2
        return found[0] if found else None

    def write(self, version: str, file: str = "model.onnx", size: int = 1) -> None:
        self.versions.setdefault(version, {})[file] = mark(size, self.now)


def change(*versions: str, changed: str = "", gone: str = "", settings: bool = False) -> FolderChange:
    return FolderChange("m", 0, versions, frozenset(changed.split()), frozenset(gone.split()), settings)


@pytest.fixture
def folder() -> Folder:
    return Folder({"1": {"model.onnx": OLD}, "2": {"model.onnx": OLD}}, {"model.toml": OLD})


def test_what_was_there_at_the_start_is_no_change(folder: Folder) -> None:
    assert [folder.after(60) for _ in range(3)] == [None, None, None]
    assert folder.changes.wait_s(folder.now) is None
    assert folder.changes.known() == [change("1", "2", changed="1 2", settings=True)]


def test_a_copy_in_pieces_is_complete_once_it_rests(folder: Folder) -> None:
    for size in range(1, 20):
        folder.write("3", size=size)
        assert folder.after(REST_S * 0.9) is None
    folder.write("3", size=20)
    assert folder.after(0) is None
    assert folder.changes.wait_s(folder.now) == pytest.approx(REST_S)
    assert folder.after(REST_S * 0.9) is None
    assert folder.changes.wait_s(folder.now) == pytest.approx(REST_S * 0.1)
    assert folder.after(REST_S * 0.2) == change("1", "2", "3", changed="3")
    assert folder.after(60) is None, "once"


def test_a_folder_of_finished_files_that_is_renamed_is_complete_at_once(folder: Folder) -> None:
    folder.versions["3"] = {"model.onnx": OLD, "weights.bin": OLD}
    assert folder.after(0) == change("1", "2", "3", changed="3")


def test_a_known_version_that_is_replaced_by_older_files_has_to_rest(folder: Folder) -> None:
    folder.versions["2"] = {"model.onnx": OLD._replace(size=7)}
    assert folder.after(0) is None
    assert folder.after(REST_S) == change("1", "2", changed="2")


def test_files_dated_by_a_clock_that_goes_ahead_have_to_rest(folder: Folder) -> None:
    folder.versions["3"] = {"model.onnx": mark(at=NOW + 3600)}
    assert folder.after(0) is None
    assert folder.after(REST_S) == change("1", "2", "3", changed="3")


def test_a_file_that_is_put_back_as_it_was_is_no_change(folder: Folder) -> None:
    folder.write("2", size=9)
    assert folder.after(1) is None
    folder.versions["2"] = {"model.onnx": OLD}
    assert folder.after(60) is None
    assert folder.changes.wait_s(folder.now) is None


def test_a_new_version_half_copied_holds_up_nothing_else(folder: Folder) -> None:
    folder.write("3", size=1)
    folder.beside["model.toml"] = mark(at=NOW)
    assert folder.after(0) is None
    for size in range(2, 9):
        folder.write("3", size=size)
        folder.now += REST_S / 2
        if (found := folder.after(0)) is not None:
            assert found == change("1", "2", settings=True)
            break
    else:
        pytest.fail("the settings were never acted upon")
    assert folder.after(REST_S) == change("1", "2", "3", changed="3")


def test_while_a_known_version_is_written_to_no_lower_one_seems_to_be_the_highest(folder: Folder) -> None:
    folder.beside["model.toml"] = mark(2)
    for size in range(2, 12):
        folder.write("2", size=size)
        assert folder.after(REST_S / 2) is None
    assert folder.after(REST_S) == change("1", "2", changed="2", settings=True)


def test_what_is_gone_has_to_stay_so_for_a_while(folder: Folder) -> None:
    files = folder.versions.pop("2")
    assert folder.after(REST_S / 2) is None
    folder.versions["2"] = files  # a rename in two steps
    assert folder.after(REST_S) is None
    del folder.versions["2"]
    assert folder.after(0) is None
    assert folder.after(REST_S) == change("1", gone="2")


def test_a_folder_deleted_file_by_file_is_gone_and_never_half_there(folder: Folder) -> None:
    folder.versions["2"] = {}
    assert folder.after(REST_S / 2) is None
    del folder.versions["2"]
    assert folder.after(REST_S / 2) is None
    folder.versions = {}
    assert folder.after(REST_S / 2) is None
    assert folder.after(REST_S / 2) is None
    assert folder.after(REST_S) == change(gone="1 2")
    assert folder.after(60) is None
    folder.versions["1"] = {"model.onnx": OLD}
    assert folder.after(0) == change("1", changed="1", settings=True), "it came back"


def test_the_last_version_serves_until_the_one_that_takes_its_place_is_complete(folder: Folder) -> None:
    folder.versions = {}
    for size in range(1, 9):
        folder.write("3", size=size)
        assert folder.after(REST_S / 2) is None
    assert folder.after(REST_S) == change("3", changed="3", gone="1 2")


def test_a_version_without_a_file_is_one_of_an_ensemble_alone(folder: Folder) -> None:
    folder.versions["3"] = {}
    assert folder.after(60) is None, "its files are still to come"
    ensemble = Folder()
    ensemble.versions["1"] = {}
    assert ensemble.after(60) is None
    ensemble.beside["config.pbtxt"] = OLD
    assert ensemble.after(0) is None
    assert ensemble.after(REST_S) == change("1", changed="1", settings=True)


def test_a_change_that_could_not_be_acted_upon_is_part_of_the_next() -> None:
    earlier = change("1", "2", changed="2", gone="7", settings=True)
    assert change("1", "3", changed="3", gone="2").after(earlier) == change(
        "1", "3", changed="3", gone="2 7", settings=True
    )
    assert change(gone="1 2").after(earlier) == change(gone="1 2 7")
    assert change("1", "7", changed="7").after(earlier).gone == frozenset()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "settings", "wait"]),
        st.sampled_from("1234"),
        st.floats(0, 3),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_whatever_is_done_each_state_that_rests_is_told_once_and_no_file_younger_than_that(
    steps: list[tuple[str, str, float]],
) -> None:
    folder = Folder({"1": {"model.onnx": OLD}})
    written = {"1": NOW - 60}
    told = {"1": folder.versions["1"]}
    for what, version, seconds in steps:
        if what == "write":
            folder.write(version, size=len(told) + 2)
            written[version] = folder.now
        elif what == "delete":
            folder.versions.pop(version, None)
        elif what == "settings":
            folder.beside["model.toml"] = mark(at=folder.now)
        found = folder.after(seconds)
        if found is not None:
            for each in found.changed:
                assert folder.now - written[each] >= REST_S
            assert set(found.versions) <= set(folder.versions)
            assert found.changed <= set(found.versions)
            assert not found.gone & set(folder.versions)
            assert not found.gone - told.keys()
            told = {each: folder.versions[each] for each in found.versions}
    last = folder.after(REST_S)
    last = folder.after(REST_S) or last
    if last is not None:
        told = {each: folder.versions[each] for each in last.versions}
    assert told == folder.versions
    assert folder.after(60) is None
    assert folder.changes.wait_s(folder.now) is None
