"""An environment of its own for the KServe client, which takes no pandas of today: `.kserve`, or `$KSERVE_DIR`.

Made by whoever needs it first, in some 30 seconds and 450 MB, and kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

FOLDER = Path(os.environ.get("KSERVE_DIR") or Path(__file__).parents[2] / ".kserve")
REQUIREMENT = "kserve==0.21.0"
INSTALL_S = 600


def python() -> Path:
    """Its interpreter."""
    found, noted = FOLDER / "bin" / "python", FOLDER / "requirement.txt"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "lock"):
        if not noted.is_file() or noted.read_text() != REQUIREMENT:
            _run(sys.executable, "-m", "venv", str(FOLDER))
            _run(str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT)
            noted.write_text(REQUIREMENT)
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_S)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


if __name__ == "__main__":
    print(python())
