"""Each peer in an environment of its own, kept between runs: `.peers/NAME`, or `$PEERS_DIR/NAME`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from benchmarks.peers.peer import Peer, python_of_ours

FOLDER = Path(os.environ.get("PEERS_DIR") or Path(__file__).parents[2] / ".peers")
INSTALL_S = 1200
_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


class NotInstalled(Exception):
    """The text is what pip last said."""


def environment_of(peer: Peer) -> Path:
    return FOLDER / peer.key


def version_of(peer: Peer) -> str:
    """Raises NotInstalled."""
    python = environment_of(peer) / "bin" / "python"
    try:
        done = subprocess.run([str(python), "-c", _VERSION, peer.package], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotInstalled(f"no environment: {error.strerror}") from None
    if done.returncode:
        raise NotInstalled(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip()


def install(peer: Peer) -> str:
    """Its version, installed now where it was not. Raises NotInstalled."""
    noted = environment_of(peer) / "requirements.txt"
    wanted = "\n".join(peer.requirements) + "\n"
    if noted.is_file() and noted.read_text() == wanted:
        return version_of(peer)
    environment = environment_of(peer)
    print(f"installing {peer.name} into {environment}", flush=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", *peer.requirements]
    try:
        if not (environment / "bin" / "python").exists():
            _run([python_of_ours(), "-m", "venv", str(environment)])
        _run(pip)
    except OSError as error:
        raise NotInstalled(str(error)) from None
    noted.write_text(wanted)
    return version_of(peer)


def _run(command: list[str]) -> None:
    try:
        # The machine stays usable meanwhile.
        done = subprocess.run(
            ["nice", "-n", "19", *command], capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"not installed after {INSTALL_S} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotInstalled(" | ".join(said[-2:]) or f"exit status {done.returncode}")
