"""Finds the model to load: in a file, a folder, bytes, or the service's repositories. Reads and copies files."""

from __future__ import annotations

import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from workbench.config import ModelConfig
from workbench.core.description import Graph
from workbench.core.model import DesiredModel
from workbench.core.pipeline_document import encode as encode_pipeline
from workbench.core.provenance import Provenance, encode
from workbench.core.runtime import ONNX, Runtime, model_files, runtime_of_file, runtimes
from workbench.errors import Conflict, InvalidInput, ModelError, ModelNotFound, WorkbenchError
from workbench.repository.layout import model_file_in
from workbench.repository.local import LocalRepository, is_model_name
from workbench.repository.model_metadata import PROVENANCE_FILE, ModelMetadata, describe, files_of, kept_provenance
from workbench.repository.opened_file import FileIdentity, identities_in, identity_of
from workbench.repository.store import BESIDE, ModelStore, StoredModel, is_packed
from workbench.repository.validate import validate_model
from workbench.repository.zipped_model import only_model_in


@dataclass(frozen=True, slots=True)
class ModelSource:
    """The file to serve, validated, and what is known of it."""

    path: Path
    digest: str
    size_bytes: int
    graph: Graph = field(default_factory=Graph)
    described: ModelMetadata = field(default_factory=ModelMetadata)
    """What lay beside it."""
    in_place: Mapping[Path, FileIdentity] = field(default_factory=dict)
    """Its files as they were before the look at them, where they are no copies of ours."""
    identity: str = ""
    """As repository.validate.ModelFile has it; empty: it is not known."""

    def is_same_model(self, other: ModelSource) -> bool:
        """Whether they differ in nothing but metadata."""
        return self.digest == other.digest or (bool(self.identity) and self.identity == other.identity)

    @property
    def operators(self) -> frozenset[str]:
        return frozenset(self.graph.operators)

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """Output -> what its elements are called: as its config.pbtxt says, or else the file itself."""
        return {**self.graph.labels, **self.described.labels}

    @property
    def own_config(self) -> ModelConfig:
        """The defaults, but for what the file itself says."""
        return ModelConfig(max_batch_size=most) if (most := self.graph.max_batch_size) else ModelConfig()

    @property
    def provenance(self) -> Provenance | None:
        """Where it came from: as whoever loaded it said, or else the file itself."""
        return self.described.provenance or self.graph.provenance

    @property
    def runtime(self) -> Runtime:
        """What serves it."""
        return runtime_of_file(self.path) or ONNX

    def files(self) -> dict[str, Path]:
        """Its own file first, then the data beside it, by their paths in its folder. Blocks."""
        folder = self.path.parent
        own = list(self.in_place) or [
            path for path in folder.rglob("*") if path.is_file() and BESIDE not in path.relative_to(folder).parts
        ]
        others = sorted(path for path in own if path != self.path)
        return {path.relative_to(folder).as_posix(): path for path in (self.path, *others)}

    def check_unchanged(self) -> None:
        """Conflict where a file that is served in place is another one than when it was looked at. Blocks."""
        for path, before in self.in_place.items():
            try:
                same = identity_of(path.stat(follow_symlinks=False)) == before
            except OSError:
                same = False
            if not same:
                raise Conflict("the model's file was replaced since it was loaded: load it again to serve the new one")


@dataclass(frozen=True, slots=True)
class Found:
    source: ModelSource
    version: str | None = None
    """What the folder calls it; None: the engine numbers it."""
    config: ModelConfig | None = None
    """From the folder's model.toml and config.pbtxt; None where it came from no folder."""
    beside: tuple[LocalRepository, str] | None = None
    """The repository and the name in it, where further versions lie beside this one."""


class Sources:
    def __init__(self, store: ModelStore, repositories: Sequence[LocalRepository]) -> None:
        self._store = store
        self._repositories = tuple(repositories)

    def available(self) -> list[tuple[str, str]]:
        """(name, version) of all that lies in the repositories."""
        return [
            (name, version)
            for repository in self._repositories
            for name in repository.names()
            for version in repository.versions(name)
        ]

    def versions(self, name: str) -> list[str]:
        """The versions of one model in the repositories."""
        return [version for repository in self._repositories for version in repository.versions(name)]

    def find(self, name: str, source: Path | bytes | None, among: Collection[str] = ()) -> Found:
        """The model to load, untrusted no more: its graphs were walked, and what must not go away was copied.

        Files, folders and bytes are copied into the store; of a folder laid out VERSION/model.onnx the highest version
        is taken. So is what lies in the repositories, but for those that are served in place; of the model there no
        versions but `among`, if any are given. Blocks.
        Raises InvalidInput, ModelNotFound, ModelError, StorageError.
        """
        if source is None:
            for repository in self._repositories:
                if repository.versions(name):
                    part = repository.among(name, among) if among else repository
                    return self._stored_or_in_place(part, name)
            raise ModelNotFound(
                f"failed to load {name!r}, it is in none of the service's model repositories; "
                "name a path, or upload the model"
            )
        if isinstance(source, bytes):
            return self._alone(name, self._store.add_bytes(source))
        mode = _mode(source)
        if mode is None:
            raise InvalidInput(f"there is no file {_shown(source)} on the service's machine")
        if not stat.S_ISDIR(mode):
            file = _regular(source, mode)
            if not _is_packed(file):
                return self._alone(name, self._store.add_file(file))
            with self._store.unpacked(file, name) as folder:
                return self._in_folder(name, folder, "the zip")
        return self._in_folder(name, source)

    def _in_folder(self, name: str, folder: Path, called: str = "") -> Found:
        """A folder with a model's file, or with VERSION/model.onnx; with one model's file whatever it is called; or a
        repository that holds NAME, or one model. Errors call it `called`, else by its name."""
        called = called or f"the folder {folder.name[:80]!r}"
        for runtime in runtimes():
            file = folder / runtime.model_file
            if (mode := _mode(file)) is not None:
                return self._described(name, _regular(file, mode), folder)
        repository = LocalRepository(folder.parent)
        if is_model_name(folder.name) and repository.versions(folder.name):
            return self._copied(name, repository, folder.name)
        if (only := only_model_in(folder)) is not None:
            return self._described(name, only, folder)
        inner = LocalRepository(folder)
        names = inner.names()
        if name in names or len(names) == 1:
            return self._copied(name, inner, name if name in names else names[0])
        if names:
            raise InvalidInput(
                f"{called} is a repository of {', '.join(names[:8])}, and none of these is "
                f"called {name!r}: name the folder of one, or serve all (jupyter-infer serve --model-repository)"
            )
        raise InvalidInput(f"{called} holds no {model_files()}, and no folder VERSION/ with one")

    def _described(self, name: str, file: Path, folder: Path) -> Found:
        said = describe(folder, folder)
        return Found(self._kept(name, file, said, folder, folder), config=said.config)

    def stored(self, model: DesiredModel) -> ModelSource:
        """The file of a model that served before; ModelError where it is gone or another by now. Blocks."""
        path = model_file_in(self._store.root / model.digest)
        if path is None:
            raise ModelError("its file is no longer in the service's store; load it again")
        file = validate_model(path, path.parent, self._store.look)
        if file.digest != model.digest:
            raise ModelError("its file in the service's store is not the one that was stored; load it again")
        beside = self._store.beside(model.digest, model.name)
        try:
            said = describe(beside, beside)
        except InvalidInput as error:
            raise ModelError(f"what lay beside it cannot be read any more ({error.message}); load it again") from None
        said = replace(said, provenance=kept_provenance(beside))
        return ModelSource(file.path, file.digest, file.size_bytes, file.graph, said, identity=file.identity)

    def keep_provenance(self, name: str, source: ModelSource, provenance: Provenance) -> ModelMetadata:
        """Have this record beside an uploaded model, for a restart; what is said of the model from now on. Blocks.
        StorageError where the disk is full."""
        self._store.keep_beside(source.digest, name, {PROVENANCE_FILE: encode(provenance)})
        return replace(source.described, provenance=provenance)

    def stages(self, name: str) -> list[str]:
        """The models of an ensemble that lies in the repositories; empty for anything else. Blocks."""
        for repository in self._repositories:
            if repository.versions(name):
                try:
                    pipeline = repository.described(name).triton.pipeline
                except WorkbenchError:
                    return []
                return [step.model for step in pipeline[0].steps] if pipeline is not None else []
        return []

    def another(self, found: Found, name: str, version: str) -> Found:
        """A further version of those that lie beside `found`. As `find`. Blocks."""
        assert found.beside is not None
        repository, folder = found.beside
        if repository.whole in self._repositories:
            return self._stored_or_in_place(repository, name, version)
        return self._copied(name, repository, folder, version)

    def in_repositories(self, name: str, version: str) -> Found | None:
        """A version that lies in the service's repositories; None: it does not. As `find`. Blocks."""
        for repository in self._repositories:
            if version in repository.versions(name):
                return self._stored_or_in_place(repository, name, version)
        return None

    def _copied(self, name: str, repository: LocalRepository, folder: str, wanted: str | None = None) -> Found:
        version, path, said = repository.one(folder, wanted)
        root = repository.root
        kept = self._kept(name, path, said, root / folder, root)
        return Found(kept, version, said.config, (repository, folder))

    def _stored_or_in_place(self, repository: LocalRepository, name: str, wanted: str | None = None) -> Found:
        version, path, said = repository.one(name, wanted)
        beside = (repository, name)
        if said.triton.pipeline is not None:
            stored = self._store.add_bytes(encode_pipeline(*said.triton.pipeline))
            return Found(source_of(stored, said), version, said.config, beside)
        if not repository.in_place:
            stored = self._store.add_file(path, repository.root)
            return Found(source_of(stored, said), version, said.config, beside)
        before = identities_in(path.parent)
        file = validate_model(path, repository.root, self._store.look)
        own = [file.path, *(file.path.parent / location for location in file.external_files)]
        if not before.keys() >= set(own):
            raise ModelError("the model's files changed while they were looked at; load it again")
        source = ModelSource(
            file.path,
            file.digest,
            file.size_bytes,
            file.graph,
            said,
            {each: before[each] for each in own},
            file.identity,
        )
        source.check_unchanged()
        return Found(source, version, said.config, beside)

    def _alone(self, name: str, model: StoredModel) -> Found:
        return Found(self._with_beside(name, model, ModelMetadata(), {}))

    def _kept(self, name: str, path: Path, said: ModelMetadata, folder: Path, root: Path) -> ModelSource:
        """A copy of the model, and of what lies beside it in `folder`, for a restart."""
        pipeline = said.triton.pipeline
        model = self._store.add_file(path) if pipeline is None else self._store.add_bytes(encode_pipeline(*pipeline))
        return self._with_beside(name, model, said, files_of(said, folder, root))

    def _with_beside(
        self, name: str, model: StoredModel, said: ModelMetadata, files: Mapping[str, bytes]
    ) -> ModelSource:
        """The model with `files` beside it, and with the record of where the same file came from, if there is one."""
        if (known := kept_provenance(self._store.beside(model.digest, name))) is not None:
            files = {**files, PROVENANCE_FILE: encode(known)}
            said = replace(said, provenance=known)
        self._store.keep_beside(model.digest, name, files)
        return source_of(model, said)


def source_of(model: StoredModel, said: ModelMetadata | None = None) -> ModelSource:
    said = said or ModelMetadata()
    return ModelSource(model.path, model.digest, model.size_bytes, model.graph, said, identity=model.identity)


def _mode(path: Path) -> int | None:
    """What there is at a path that a caller gave, links followed; None: nothing. InvalidInput where the system will
    not say."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidInput(f"{_shown(path)} cannot be read on the service's machine: {error.strerror}") from None
    except ValueError:  # a NUL in it
        return None


def _regular(path: Path, mode: int) -> Path:
    """`path`, when it can be read to an end, as a pipe or a device cannot."""
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{_shown(path)} is no regular file; give a model's file, or a folder that holds one")
    return path


def _is_packed(path: Path) -> bool:
    try:
        return is_packed(path)
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None


def _shown(path: Path) -> str:
    return repr(str(path)[:200])
