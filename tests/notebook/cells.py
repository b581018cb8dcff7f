"""A shell that runs `%infer`, without a kernel."""

from __future__ import annotations

from typing import Any

from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from traitlets.config import Config

from workbench.api import Workbench
from workbench.notebook.magics import register

X, Y = load_iris(return_X_y=True)
CLF = LogisticRegression(max_iter=1000).fit(X, Y)


class Cells:
    """A shell that runs one cell after the other."""

    def __init__(self, wb: Workbench) -> None:
        self.shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
        register(self.shell, lambda: wb, lambda: wb)
        self.shell.user_ns.update(X=X, y=Y, clf=CLF)

    def run(self, cell: str) -> Any:
        """The value of a cell that must succeed."""
        with capture_output():
            done = self.shell.run_cell(cell)
        done.raise_error()
        return done.result

    def refused(self, cell: str) -> str:
        """What a cell that must fail prints, which is one line."""
        with capture_output() as captured:
            done = self.shell.run_cell(cell)
        assert not done.success, f"{cell} succeeded"
        printed = (captured.stdout + captured.stderr).strip()
        assert "Traceback" not in printed
        assert len(printed.splitlines()) <= 2, printed
        return printed

    def complete(self, line: str) -> list[str]:
        with provisionalcompleter():
            return [each.text for each in self.shell.Completer.completions(line, len(line))]
