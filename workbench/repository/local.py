"""A folder of models laid out NAME/VERSION/model.onnx, which belongs to its user and is only read."""

from __future__ import annotations

from pathlib import Path

from workbench.config import ModelConfig, read_model_toml
from workbench.core.model import check_model_name, check_model_version
from workbench.errors import InvalidInput, ModelNotFound
from workbench.repository.layout import MODEL_FILE, SETTINGS_FILE, check_own_file, contained


class LocalRepository:
    """Reads the folder at every call, so that what is copied into it is found at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """The models that have at least one version, sorted; folders that cannot name a model are passed over."""
        return [name for name in self._folders(self.root) if _is_name(name) and self.versions(name)]

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the oldest first; empty when there is no such model."""
        found = [folder for folder in self._folders(self.root / check_model_name(name)) if _is_version(folder)]
        return sorted(found, key=int)

    def model_path(self, name: str, version: str) -> Path:
        """The model file, with links inside the root followed.

        Raises ModelNotFound, or UntrustedModel where the file really lies outside the root.
        """
        folder = self.root / check_model_name(name)
        path = folder / check_model_version(version) / MODEL_FILE
        if not path.is_symlink() and not path.is_file():
            known = self.versions(name)
            if version in known:
                raise ModelNotFound(f"version {version} of model {name!r} has no file {MODEL_FILE} in the repository")
            have = f"its versions there are {', '.join(known)}" if known else "the repository does not hold it"
            raise ModelNotFound(f"there is no version {version} of model {name!r}: {have}")
        what = f"the file of model {name!r} version {version}"
        resolved = contained(path, self.root, what)
        check_own_file(resolved, what)
        return resolved

    def config(self, name: str) -> ModelConfig:
        """The settings in the model's model.toml; the defaults when it has none."""
        path = self.root / check_model_name(name) / SETTINGS_FILE
        if path.is_symlink() or path.exists():
            contained(path, self.root, f"{SETTINGS_FILE} of model {name!r}")
        return read_model_toml(path)

    def _folders(self, folder: Path) -> list[str]:
        try:
            return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def _is_name(text: str) -> bool:
    try:
        check_model_name(text)
    except InvalidInput:
        return False
    return True


def _is_version(text: str) -> bool:
    try:
        check_model_version(text)
    except InvalidInput:
        return False
    return True
