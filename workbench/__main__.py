"""`python -m workbench`, the same as `jupyter-infer`."""

from __future__ import annotations

import sys


def run() -> int:
    from workbench.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
