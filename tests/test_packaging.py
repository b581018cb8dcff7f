"""The wheel and the sdist, built and installed as a user gets them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import workbench

pytestmark = pytest.mark.long

ROOT = Path(workbench.__file__).parents[1]

SHARE = "share/jupyter/labextensions/infer-workbench"


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout, and the wheel that was built from the sdist alone."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def installed(artefacts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine without node where the wheel is installed; the libraries are this environment's."""
    prefix = tmp_path_factory.mktemp("prefix")
    (wheel,) = artefacts.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed"]
    subprocess.run([*command, "--prefix", str(prefix), str(wheel)], check=True, capture_output=True, timeout=120)
    (packages,) = prefix.rglob("site-packages")
    return {
        **os.environ,
        "PATH": "/usr/bin-without-node",
        "PYTHONPATH": str(packages),
        "JUPYTER_PATH": str(prefix / "share" / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(prefix / "etc" / "jupyter"),
    }


def test_the_sdist_carries_the_built_panel_its_sources_and_its_lock(artefacts: Path) -> None:
    (sdist,) = artefacts.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {"/".join(name.split("/")[1:]) for name in archive.getnames()}
    assert {"labextension/yarn.lock", "labextension/src/index.ts", "LICENSE", "README.md"} <= names
    assert {"workbench/labextension/static/style.js", "workbench/notebook/static/live.js"} <= names
    assert not [
        name for name in names if "node_modules" in name or name.startswith((".git/", ".ci", "labextension/lib"))
    ]
    assert sdist.stat().st_size < 3_000_000


def test_the_wheel_holds_each_file_once_and_where_jupyter_looks_for_it(artefacts: Path) -> None:
    (wheel,) = artefacts.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if name.endswith(f"{SHARE}/static/style.js")]
    assert [name for name in names if name.endswith(f"{SHARE}/install.json")]
    # The drawing of a cell's live plot comes from the Jupyter server, or from the kernel where that is without us.
    assert [name for name in names if name.endswith(f"{SHARE}/static/live.js")]
    assert {"workbench/notebook/static/live.js", "workbench/notebook/loader.js"} <= set(names)
    assert [name for name in names if name.endswith("etc/jupyter/jupyter_server_config.d/infer-workbench.json")]
    assert {"workbench/jupyter/events/service.yaml", "workbench/jupyter/events/model.yaml"} <= set(names)
    assert not [
        name for name in names if name.startswith(("workbench/labextension", "workbench/etc", "tests", "labextension"))
    ]
    assert wheel.stat().st_size < 2_000_000


def test_both_extensions_are_enabled_by_installing_and_need_no_node(installed: dict[str, str], tmp_path: Path) -> None:
    said = {}
    for words in (["labextension", "list"], ["server", "extension", "list"]):
        command = [sys.executable, "-m", "jupyter", *words]
        done = subprocess.run(command, env=installed, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        said[words[0]] = done.stdout + done.stderr
    folder = f"{installed['JUPYTER_PATH']}/labextensions"
    panel = next(line for line in said["labextension"].split(folder, 1)[1].splitlines() if "infer-workbench" in line)
    assert "enabled" in panel
    assert "OK" in panel
    listed = said["server"].split(installed["JUPYTER_CONFIG_DIR"], 1)[1]
    validated = listed.split("Validating workbench.jupyter", 1)[1].splitlines()[1]
    assert "OK" in validated, said["server"]


def test_the_installed_package_is_the_one_from_the_wheel(installed: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import workbench; print(workbench.__file__, workbench.__version__)"]
    done = subprocess.run(command, env=installed, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith(installed["PYTHONPATH"])
