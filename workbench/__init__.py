"""From a notebook cell to a served model.

import workbench
wb = workbench.connect()
wb.load("digits", clf)
wb["digits"](X)
"""

from __future__ import annotations

__all__: list[str] = []
