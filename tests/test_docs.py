"""What the documentation shows runs as it is written, and the files that it names exist."""

from __future__ import annotations

import atexit
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from traitlets.config import Config

import workbench
from workbench.client.shared_service import SharedService

ROOT = Path(workbench.__file__).parents[1]


@pytest.fixture
def shell(workplace: SharedService) -> Iterator[InteractiveShell]:
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    if (wb := shell.user_ns.get("wb")) is not None:
        wb.close()
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)


@cache
def fitted() -> dict[str, object]:
    X, y = load_digits(return_X_y=True)
    return {"X_test": X, "clf": KNeighborsClassifier(3).fit(X, y)}


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_python_on_a_page_runs_from_top_to_bottom(page: str, shell: InteractiveShell) -> None:
    shell.user_ns.update(fitted())
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        with capture_output() as said:
            shell.run_cell(block).raise_error()
        assert "Error" not in said.stdout + said.stderr


CHANGES = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8").split("\n## Where would I change")[1]


def test_the_files_to_change_exist() -> None:
    paths = set(re.findall(r"`((?:workbench|labextension|tests|docs)/[\w./-]+\.\w+)`", CHANGES))
    examples = {path for path in paths if re.search(r"LIBRARY|NAME", path)}
    assert len(paths) > 30
    assert not [path for path in paths - examples if not (ROOT / path).is_file()]
    assert not [path for path in examples if not (ROOT / path).parent.is_dir()]


def test_each_of_ten_changes_names_five_files_at_most() -> None:
    answers = CHANGES.split("\n## ")[0].split("\n### ")[1:]
    assert len(answers) == 10
    for answer in answers:
        tables = re.findall(r"\| file \|.*?\n\|---.*?\n((?:\|.*\n)+)", answer)
        assert tables
        assert all(len(rows.splitlines()) <= 5 for rows in tables)
