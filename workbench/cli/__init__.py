"""The command line: `jupyter-infer VERB ...`, also `jupyter infer` and `python -m workbench`."""

from workbench.cli.command_line import main

__all__ = ["main"]
