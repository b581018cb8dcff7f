"""The public Python API: a `Workbench` has every verb as a method that blocks until it is done.

wb = workbench.connect()
wb.load("digits", clf)
wb["digits"](X_test)
"""

from workbench.api.connecting import connect, connected, current, running
from workbench.api.handles import Model, Workbench

__all__ = ["Model", "Workbench", "connect", "connected", "current", "running"]
