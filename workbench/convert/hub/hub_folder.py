"""Reads a folder in the layout of the Hugging Face hub: config.json, weights as safetensors, and a tokenizer.

Nothing in it is run: weights as pickle are refused, and so is code of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.convert.hub.transformers_parts import SERVED, task_of
from workbench.core.runtime import runtimes
from workbench.errors import InvalidInput, ModelError, NotFound, Unsupported

HUB = "hf:"
"""What a name of the hub begins with, as in hf:org/name."""

_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model")
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")
_PICKLED = (
    "the folder's weights are a pickle, which may run code when it is read; load the model yourself, and save it with "
    "model.save_pretrained(folder), which writes model.safetensors"
)
_INSTALL = 'pip install "infer-workbench[transformers]"'


def hub_folder(source: str) -> Path | None:
    """The folder that `source` names, if it is one in the hub's layout; of `hf:NAME`, the copy on this machine.

    Fetches `hf:NAME`, and raises NotFound where that does not work. Blocks.
    """
    if source.startswith(HUB):
        return _fetched(source.removeprefix(HUB))
    try:
        folder = Path(source).expanduser().absolute()
        if not folder.is_dir() or any((folder / each.model_file).exists() for each in runtimes()):
            return None
        known = ("config.json", "modules.json", "model.safetensors", "pytorch_model.bin", "tokenizer_config.json")
        return folder if any((folder / name).is_file() for name in known) else None
    except (OSError, ValueError, RuntimeError):  # whoever uses it as a path says so
        return None


def opened_folder(folder: Path) -> object:
    """The SentenceTransformer, or the pair (model, tokenizer or image processor), that a folder holds.

    Raises ModelError for a folder that lacks a part or has a broken one, Unsupported for a model without a task.
    """
    if (folder / "modules.json").is_file():
        return _sentence_transformer(folder)
    config = _config(folder)
    try:
        import transformers
    except ImportError:
        raise Unsupported(f"a folder in the hub's layout is read with transformers: {_INSTALL}") from None
    names = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    kind = names[0] if names else str(config.get("model_type", "a model"))
    task = task_of(kind)
    if "auto_map" in config and not hasattr(transformers, kind):
        raise Unsupported(
            f"{kind} is code that lies in the folder, which is not run; load the live object instead: where you trust "
            "the code, from_pretrained(folder, trust_remote_code=True) of its AutoModel class makes it"
        )
    if not hasattr(transformers, kind) and not _is_known(transformers, kind):
        newer = f"; it was written by transformers {by}" if (by := config.get("transformers_version")) else ""
        raise Unsupported(
            f"the folder holds {kind[:100]}, which transformers {transformers.__version__} does not have{newer}. Try "
            "pip install --upgrade transformers, or make the model with its own library and load the live object"
        )
    if task is None or not hasattr(transformers, kind):
        raise Unsupported(
            f"the folder holds {kind}, which has no head whose answer is served as text ({SERVED} are); load "
            "SentenceTransformer(folder) for one vector a text, or AutoModel.from_pretrained(folder) for its tensors"
        )
    _check_weights(folder)
    beside = "AutoImageProcessor" if task == "image-classification" else "AutoTokenizer"
    if beside == "AutoTokenizer":
        _check_tokenizer(folder)
    if beside == "AutoImageProcessor" and not (folder / "preprocessor_config.json").is_file():
        raise ModelError(
            "the folder holds a model and no image processor (preprocessor_config.json); put it there with "
            "image_processor.save_pretrained(folder)"
        )
    model, info = _read(
        getattr(transformers, kind).from_pretrained, folder, use_safetensors=True, output_loading_info=True
    )
    _check_complete(info, kind)
    part = "'s tokenizer" if beside == "AutoTokenizer" else "'s image processor"
    return model.eval(), _read(getattr(transformers, beside).from_pretrained, folder, part)


def _sentence_transformer(folder: Path) -> object:
    first = folder / _check_modules(folder)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise Unsupported(
            "the folder's modules.json is read with sentence-transformers: pip install sentence-transformers"
        ) from None
    model = _read(SentenceTransformer, folder, device="cpu", model_kwargs={"use_safetensors": True})
    if (inner := getattr(model[0], "auto_model", None)) is not None:
        # SentenceTransformer fills in random numbers and does not say so. A pooler is not used by its pooling.
        _, info = _read(type(inner).from_pretrained, first, use_safetensors=True, output_loading_info=True)
        _check_complete(info, type(inner).__name__, unused="pooler")
    return model


def _check_modules(folder: Path) -> str:
    """The path of a SentenceTransformer's first part in its folder.

    Raises Unsupported where a part is a pickle or of a class that is not the library's own, ModelError where the
    tokenizer is missing: SentenceTransformer would make up one that reads no word.
    """
    for each in sorted(path for ending in _PICKLES for path in folder.rglob(ending)):
        if not any(each.parent.glob("*.safetensors")):
            raise Unsupported(_PICKLED)
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        kinds = [str(each["type"]) for each in modules]
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise ModelError(
            f"the folder's modules.json cannot be read ({str(error)[:100]}); copy the folder again"
        ) from None
    for kind in kinds:
        if not kind.startswith("sentence_transformers."):
            raise Unsupported(
                f"{kind[:100]!r} in modules.json is code of its own, which is not run; load the live object"
            )
    first = str(modules[0].get("path") or "") if modules else ""
    if kinds and kinds[0].endswith(".Transformer"):
        _check_tokenizer(folder / first)
    return first


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(
            "the folder has no config.json, so it is half of a model in the hub's layout; copy the whole folder, or "
            "write it with save_pretrained(folder)"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"the folder's config.json cannot be read ({str(error)[:100]}); copy the folder again"
        ) from None
    if not isinstance(found, dict):
        raise ModelError("the folder's config.json is no object; copy the folder again")
    return found


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ModelError(
            "the folder holds a model and no tokenizer (tokenizer.json); put it there with "
            "tokenizer.save_pretrained(folder)"
        )


def _check_complete(info: dict[str, Any], kind: str, unused: str = "") -> None:
    """Raise ModelError where `info`, of loading a `kind`, names tensors that were not in the file, but for a part
    `unused`."""
    if missing := sorted(name for name in info.get("missing_keys", ()) if unused not in name.split(".")):
        raise ModelError(
            f"the folder's weights lack {len(missing)} of {kind}'s tensors ({', '.join(missing[:3])}), which would be "
            "random numbers; save the whole trained model with save_pretrained(folder)"
        )


def _check_weights(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    if any(any(folder.glob(ending)) for ending in _PICKLES):
        raise Unsupported(_PICKLED)
    raise ModelError("the folder has a config.json and no weights (model.safetensors); copy the whole folder")


def _is_known(transformers: Any, model_type: str) -> bool:
    """Whether a configuration that names no class is of one of the library's kinds."""
    return model_type == "a model" or model_type in transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES


def _read(read: Any, folder: Path, part: str = "", **options: Any) -> Any:
    try:
        return read(str(folder), local_files_only=True, **options)
    except ImportError as error:
        raise Unsupported(f"the folder{part} cannot be read without another package: {_first_line(error)}") from None
    except Exception as error:  # transformers raises what its parts raise: of JSON, of safetensors, of tokenizers
        raise ModelError(
            f"the folder{part} cannot be read ({type(error).__name__}: {_first_line(error)}); copy the whole "
            "folder again, or write it with save_pretrained(folder)"
        ) from None


def _fetched(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise Unsupported(f"{HUB}{name} is fetched with huggingface_hub: {_INSTALL}") from None
    if not name or name.startswith(("/", ".")):
        raise InvalidInput(f"{HUB} takes a name of the hub, as hf:org/name; got {name!r}")
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except Exception as error:  # of the network, of the hub, of a name that is none
        raise NotFound(f"{HUB}{name} could not be fetched: {not_fetched(name, error)}") from None


def not_fetched(name: str, error: BaseException) -> str:
    """Why, and what to do, in plain words where it is one of the usual reasons."""
    kinds = {cls.__name__ for cls in type(error).__mro__}
    if not kinds.isdisjoint(("LocalEntryNotFoundError", "OfflineModeIsEnabled")):
        from huggingface_hub import constants

        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached from here"
        return (
            f"{why}, and this machine has no copy of it; fetch it where there is a network, hf download {name} "
            "--local-dir FOLDER, bring the folder here, and load that"
        )
    if not kinds.isdisjoint(("RepositoryNotFoundError", "GatedRepoError")):
        return "the hub has no model of this name that you may see; look at the name, or sign in with hf auth login"
    if "HFValidationError" in kinds:
        return f"this is no name of the hub, which is as {HUB}org/name"
    return f"{type(error).__name__}: {_first_line(error)}; try it again, or fetch it elsewhere and load the folder"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else ""
