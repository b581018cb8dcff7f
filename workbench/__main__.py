"""`python -m workbench`, the same as `jupyter-infer`."""

from __future__ import annotations

import sys

from workbench.cli import main

sys.exit(main())
