"""A folder of models laid out NAME/VERSION/model.onnx, which belongs to its user and is only read.

Its models are copied into the store, and the copies are served. With `in_place` they are opened where they lie, which
is for a folder of more than the disk has room for, and that nobody writes to while its models serve.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

from workbench.config import ModelConfig
from workbench.core.model import check_model_name, check_model_version
from workbench.core.runtime import ONNX, model_files
from workbench.errors import InvalidInput, ModelError, ModelNotFound
from workbench.repository.layout import check_own_file, contained, model_file_in
from workbench.repository.model_metadata import ModelMetadata, describe
from workbench.versions.version_policy import policy_of

log = logging.getLogger("workbench.repository")


class LocalRepository:
    """Reads the folder at every call, so that what is copied into it is found at once.

    What the system does not let us read is passed over, with one word in the log: it may be none of our business.
    """

    def __init__(self, root: Path, *, in_place: bool = False) -> None:
        self.root = root
        self.in_place = in_place
        self.whole: LocalRepository = self
        """The repository that this one is a part of (`among`), or itself."""
        self._told: set[Path] = set()
        self._among: tuple[str, frozenset[str]] | None = None

    def among(self, name: str, versions: Collection[str]) -> LocalRepository:
        """The same folder as if the model had no versions but these, as while others are still being written."""
        part = LocalRepository(self.root, in_place=self.in_place)
        part.whole, part._told, part._among = self.whole, self._told, (name, frozenset(versions))
        return part

    def wanted(self, name: str, versions: Collection[str]) -> list[str]:
        """Those of `versions` that the model's settings have loaded, the highest last. ModelError, InvalidInput."""
        return policy_of(self.config(name).versions).of_folder(versions)

    def names(self) -> list[str]:
        """The models that have at least one version, sorted; folders that cannot name a model are passed over."""
        found = []
        for name in self._folders(self.root):
            if is_model_name(name) and self.versions(name):
                found.append(name)
            else:
                self._tell_if_model(self.root / name)
        return found

    def versions(self, name: str) -> list[str]:
        """The versions of a model, the oldest first; empty when there is no such model."""
        found = [folder for folder in self._folders(self.root / check_model_name(name)) if is_version(folder)]
        if self._among is not None and self._among[0] == name:
            found = [each for each in found if each in self._among[1]]
        return sorted(found, key=int)

    def one(self, name: str, version: str | None = None) -> tuple[str, Path, ModelMetadata]:
        """A version, or the highest that its settings let be served; its file, and what is said of the model; of an
        ensemble, which needs no file, the version's folder. ModelNotFound, ModelError, InvalidInput."""
        said = self.described(name)
        if version is None:
            policy = said.config.versions
            if not (versions := policy_of(policy).of_folder(self.versions(name))):
                what = model_files("VERSION/") if not self.versions(name) else f"version of those in its {policy!r}"
                raise ModelError(f"the folder of model {name!r} holds no {what}")
            version = versions[-1]
        if said.triton.pipeline is not None:
            return version, self.root / name / version, said
        return version, self.model_path(name, version, said.triton.model_file), said

    def model_path(self, name: str, version: str, file: str = "") -> Path:
        """The model file, with links inside the root followed; by the name that a runtime gives it where `file` is
        empty.

        Raises ModelNotFound, UntrustedModel where the file really lies outside the root, ModelError where there is no
        such file or it cannot be read.
        """
        folder = self.root / check_model_name(name)
        inside = folder / check_model_version(version)
        path = inside / file if file else model_file_in(inside) or inside / ONNX.model_file
        what = f"the file of model {name!r} version {version}"
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            known = self.versions(name)
            if version in known:
                raise ModelError(
                    f"version {version} of model {name!r} has no file {path.name} in the repository{_other(inside)}"
                ) from None
            have = f"its versions there are {', '.join(known)}" if known else "the repository does not hold it"
            raise ModelNotFound(f"there is no version {version} of model {name!r}: {have}") from None
        except OSError as error:
            raise ModelError(f"{what} cannot be read: {error.strerror}") from None
        resolved = contained(path, self.root, what)
        check_own_file(resolved, what)
        return resolved

    def config(self, name: str) -> ModelConfig:
        """The settings in the model's model.toml over those in its config.pbtxt; the defaults when it has neither."""
        return self.described(name).config

    def described(self, name: str) -> ModelMetadata:
        """What lies beside the model's versions. InvalidInput, UntrustedModel; ModelError where its config.pbtxt makes
        it a model that cannot be served."""
        return describe(self.root / check_model_name(name), self.root, name)

    def _folders(self, folder: Path) -> list[str]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if self._is_folder(entry))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._pass_over(folder, error)
            return []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError as error:
            self._pass_over(Path(entry.path), error)
            return False

    def _tell_if_model(self, folder: Path) -> None:
        """Say once of a folder that is passed over that a model lies there, if not as NAME/VERSION/model.onnx."""
        if folder in self._told or folder.name.startswith(".") or folder.is_symlink():
            return
        if any(model_file_in(each) for each in (folder, *(folder / inner for inner in self._folders(folder)))):
            self._told.add(folder)
            log.warning(
                "%s in a model repository holds a model and is passed over: it must lie at NAME/VERSION/%s, with a "
                "whole number as VERSION and letters, digits, '_', '-' and '.' in NAME",
                folder,
                ONNX.model_file,
            )

    def _pass_over(self, path: Path, error: OSError) -> None:
        if path not in self._told:
            self._told.add(path)
            log.warning("%s in a model repository cannot be read (%s) and is passed over", path, error.strerror)


def _other(folder: Path) -> str:
    """Where a model's file has another name than its configuration gives it, what to do, as the end of a sentence."""
    found = model_file_in(folder)
    return f"; there is {found.name}: set default_model_filename in its config.pbtxt" if found else ""


def is_model_name(text: str) -> bool:
    try:
        check_model_name(text)
    except InvalidInput:
        return False
    return True


def is_version(text: str) -> bool:
    try:
        check_model_version(text)
    except InvalidInput:
        return False
    return True
