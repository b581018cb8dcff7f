"""The comparison of two versions in a cell: with buttons that promote and take back, or with the lines that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.display import display

from workbench.client.formatting import escape, text_lines
from workbench.client.version_comparison import VersionComparison
from workbench.notebook.live import is_interactive

if TYPE_CHECKING:
    from workbench.api import Workbench


class ComparedVersions(VersionComparison):
    """A comparison that can be acted on where it is shown."""

    def __init__(self, workbench: Workbench, found: VersionComparison) -> None:
        super().__init__(
            found.model,
            found.versions,
            found.title,
            list(found),
            live=found.live,
            outputs=found.outputs,
            ratio=found.ratio,
        )
        self._workbench = workbench

    @property
    def lines(self) -> tuple[str, str]:
        """What promotes the second version, and what goes back, to be run in a cell."""
        return f"%infer route {self.model} v{self.versions[1]}", f"%infer rollback {self.model}"

    def __repr__(self) -> str:
        promote, back = self.lines
        return f"{super().__repr__()}\n{text_lines([f'to promote it: {promote}', f'to go back: {back}'])}"

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}{self._lines_html()}"

    def _lines_html(self) -> str:
        promote, back = (f"<code>{escape(line)}</code>" for line in self.lines)
        return f"<div>to promote it: {promote} · to go back: {back}</div>"

    def _ipython_display_(self) -> None:
        if not is_interactive():
            display({"text/plain": repr(self), "text/html": self._repr_html_()}, raw=True)  # type: ignore[no-untyped-call]
            return
        plain, html = VersionComparison.__repr__(self), VersionComparison._repr_html_(self)
        display({"text/plain": plain, "text/html": html}, raw=True)  # type: ignore[no-untyped-call]
        view = {"version_major": 2, "version_minor": 0, "model_id": self.buttons().model_id}
        bundle = {
            "application/vnd.jupyter.widget-view+json": view,
            "text/html": self._lines_html(),  # where the kernel is gone
            "text/plain": "\n".join(self.lines),
        }
        display(bundle, raw=True)  # type: ignore[no-untyped-call]

    def buttons(self) -> Any:
        """A row of *Promote* and *Roll back*; what they came to is said below it."""
        import ipywidgets

        promote, back = self.actions()
        return ipywidgets.VBox([ipywidgets.HBox([promote.button, back.button]), promote.said, back.said])

    def actions(self) -> tuple[Any, Any]:
        """The two buttons themselves."""
        from workbench.notebook.action_button import ActionButton

        model, version = self.model, self.versions[1]
        return (
            ActionButton(
                f"Promote {version}",
                f"Version {version} answers all calls without a version",
                lambda: self._workbench.route(model, version)._repr_html_(),
                "primary",
            ),
            ActionButton(
                "Roll back",
                "End a split, or go back to the version that served before",
                lambda: self._workbench.rollback(model)._repr_html_(),
            ),
        )
