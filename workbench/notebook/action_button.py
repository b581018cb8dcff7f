"""A button in a cell that does something and shows what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import ipywidgets

from workbench.client.formatting import escape
from workbench.errors import WorkbenchError

_AS_WIDE_AS_ITS_WORD = {"width": "auto", "align_self": "flex-start"}


class ActionButton:
    """A button that runs work on a thread, and shows the result next to it."""

    def __init__(self, label: str, tip: str, work: Callable[[], str], style: str = "") -> None:
        self.button = ipywidgets.Button(description=label, tooltip=tip, button_style=style, layout=_AS_WIDE_AS_ITS_WORD)
        self.said = ipywidgets.HTML()
        self._work = work
        self._busy = False
        self._enabled = True
        self.button.on_click(lambda button: self.begin())

    @property
    def enabled(self) -> bool:
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._enabled = enabled
        self.button.disabled = self._busy or not enabled

    def begin(self) -> threading.Thread | None:
        """Start the work and return its thread; None if it is already running."""
        if self._busy:
            return None
        self._busy = self.button.disabled = True
        self.said.value = "…"
        doing = threading.Thread(target=self._do, name="infer-workbench-panel", daemon=True)
        doing.start()
        return doing

    def _do(self) -> None:
        try:
            said = self._work()
        except WorkbenchError as error:
            said = bad(error.message)
        except Exception as error:  # on a thread it would not be seen
            said = bad(f"{type(error).__name__}: {error}")
        self.said.value = said
        self._busy = False
        self.button.disabled = not self._enabled


def bad(message: str) -> str:
    return f"<span role='alert' style='color:var(--jp-error-color1, #c0392b)'>{escape(message)}</span>"
