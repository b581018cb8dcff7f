"""What the records of a comparison are made into."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.peers.figures import Figures, Middle, Setting
from benchmarks.peers.measure import OURS, Case, best_peer
from benchmarks.peers.report import BEGIN, END, PICTURE, picture, section, write_docs
from tests.benchmarks.records import load, records

SMALL = Case("small", "json", 32)


def test_a_middle_is_the_median_with_the_least_and_the_greatest() -> None:
    assert Middle.of([3.0, 1.0, 2.0]) == Middle(2.0, 1.0, 3.0)


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_round_is_slow_for_both() -> None:
    figures = Figures(records())
    best = figures.best(SMALL)
    assert best == (Setting("quick", "advised", 1, "json"), SMALL)
    assert figures.ratio((figures.own(OURS, SMALL), SMALL), best) == Middle(10.0, 10.0, 10.0)


def test_a_binary_load_meets_the_peers_in_the_encoding_that_serves_them_best() -> None:
    found = records()
    found["loads"] = [
        each for each in found["loads"] if not (each["server"] == "quick" and each["encoding"] == "binary")
    ]
    best = Figures(found).best(Case("large", "binary", 32))
    assert best is not None and best[1] == Case("large", "json", 32)


def test_a_load_with_errors_is_counted_neither_as_fast_nor_as_slow() -> None:
    found = records()
    found["loads"].append(load(0, "slow", "advised", 1e6, errors=5) | asdict(SMALL))
    figures = Figures(found)
    assert figures.of(Setting("slow", "advised", 1, "json"), SMALL, "requests_per_s") is None
    best = figures.best(SMALL)
    assert best is not None and best[0].server == "quick"
    assert best_peer(found["loads"], "small") is not None
    assert "5 errors" in section(found)


def test_the_open_loop_takes_the_rate_of_the_fastest_peer() -> None:
    best = best_peer(records()["loads"], "large")
    assert best is not None and (best["server"], best["delay"], best["requests_per_s"]) == ("quick", "advised", 200.0)


def test_a_comparison_without_any_peer_has_no_best() -> None:
    found = records()
    found["loads"] = [each for each in found["loads"] if each["server"] == OURS]
    assert best_peer(found["loads"], "small") is None
    assert Figures(found).best(SMALL) is None
    assert "| – |" in section(found)


def test_a_peer_that_could_not_be_installed_is_named_with_its_own_words() -> None:
    assert "- Absent could not be installed, and is left out of the comparison: `no ¦ wheel`" in section(records())


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    blocks = [block.splitlines() for block in section(records()).split("\n\n")]
    tables = [[line for line in block if line.startswith("|")] for block in blocks]
    assert sum(map(bool, tables)) == 5
    for table in filter(None, tables):
        assert len({line.count("|") for line in table}) == 1


def test_the_share_of_bare_runs_is_said_for_the_large_model() -> None:
    assert Figures(records()).of_bare(Case("large", "binary", 32)) == Middle(0.25, 0.25, 0.25)


def test_only_what_lies_between_the_marks_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write_docs(records(), tmp_path)
    text = page.read_text()
    assert text.startswith(f"# Before\n\n{BEGIN}\n## Beside other servers") and text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    write_docs(records(), tmp_path)
    assert page.read_text() == text
    assert (tmp_path / PICTURE).is_file()


def test_a_page_without_marks_gets_them_at_its_end(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Before\n")
    write_docs(records(), tmp_path)
    assert page.read_text().startswith(f"# Before\n\n{BEGIN}\n") and page.read_text().endswith(f"{END}\n")


def test_the_picture_has_a_dot_for_every_server_and_stays_within_its_frame() -> None:
    drawn = ET.fromstring(picture(records()))
    space = "{http://www.w3.org/2000/svg}"
    dots = drawn.findall(f"{space}circle")
    assert len(dots) == 4 + 4
    width, height = map(float, drawn.attrib["viewBox"].split()[2:])
    for dot in dots:
        assert 0 < float(dot.attrib["cx"]) < width and 0 < float(dot.attrib["cy"]) < height
    names = [text.text for text in drawn.findall(f"{space}text") if "name" in text.attrib["class"]]
    assert names[:2] == ["bare uvicorn echo", "Workbench"]
    assert "Slow (JSON)" in names


@pytest.mark.parametrize("key", ["loads", "open"])
def test_a_report_of_half_a_run_can_be_written(key: str) -> None:
    assert section(records() | {key: []})
