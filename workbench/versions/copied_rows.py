"""What the copies of calls say of a rollout's agreement: rows that both versions answered, and those alike. Pure."""

from __future__ import annotations

from workbench.core.model import Signature
from workbench.core.shadow_figures import ShadowFigures


def tells_agreement(signature: Signature) -> bool:
    """Whether a row's answers can agree or not: an output is a label, or may hold the scores of classes."""
    return any(
        ("FP" not in each.datatype and "BF" not in each.datatype) or (len(each.shape) == 2 and each.shape[1] != 1)
        for each in signature.outputs
    )


class CopiedRows:
    """Says what came since the last look, of figures that grow."""

    def __init__(self) -> None:
        self._seen: tuple[float, int, int, int] = (0.0, 0, 0, 0)
        """Since when the figures grow, and what they were."""

    def since(self, figures: ShadowFigures | None) -> tuple[tuple[int, int], str]:
        """((rows that both answered, those of them alike), why answers could not be compared)."""
        if figures is None:
            return (0, 0), ""
        unlike = [each for each in figures.outputs if each.unlike]
        began, *before = self._seen if self._seen[0] == figures.since else (figures.since, 0, 0, 0)
        now = figures.rows, figures.differing, sum(each.unlike for each in unlike)
        self._seen = began, *now
        rows, differing, new = (after - earlier for after, earlier in zip(now, before, strict=True))
        why = f"{unlike[-1].name}: {unlike[-1].why_unlike}" if new else ""
        if not why and figures.rows and all(each.same is None and not each.unlike for each in figures.outputs):
            why = "they are numbers, neither labels nor scores of classes"
        return (rows, rows - differing), why
