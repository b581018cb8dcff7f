"""`load`, `predict` and the other verbs of models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from workbench.cli.chosen_service import Verb, add_name, add_nothing, say, service
from workbench.errors import InvalidInput


def _add_load(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("source", metavar="PATH", type=Path, help="ONNX file, or folder of a model")
    parser.add_argument("--device", help="device: auto, cpu, cuda or cuda:N")
    parser.add_argument("--max-batch", type=int, metavar="ROWS", help="most rows in one batch")
    parser.add_argument("--delay", help='how long a batch may wait for more rows, like "5ms"')
    parser.add_argument("--instances", type=int, metavar="N", help="runners; 1 lets the service choose (1)")
    parser.add_argument("--signature", default="", metavar="NAME", help="one of a SavedModel's (serving_default)")
    parser.add_argument("--allow-code", action="store_true", help="it may be a Python function, whose code then runs")
    parser.add_argument(
        "--no-route", action="store_true", help="beside the version that serves, for calls that name it"
    )
    parser.add_argument("--force", action="store_true", help="load even if inputs or outputs change")


def _load(arguments: argparse.Namespace) -> int:
    names = ("device", "max_batch", "delay", "instances", "allow_code", "signature")
    options = {name: getattr(arguments, name) for name in names}
    options |= {"force": arguments.force, "route": not arguments.no_route}
    return say(service(arguments).load(arguments.name, arguments.source, **options))


def _add_pipeline(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("stages", metavar="STAGE", nargs="+", help="models, one after another")
    parser.add_argument("--map", default="", metavar="b.x=a.y", help="inputs that names do not tell, with commas")
    parser.add_argument("--force", action="store_true", help="load even if inputs or outputs change")


def _pipeline(arguments: argparse.Namespace) -> int:
    from workbench.client.pipeline_wiring import pairs_of

    mapping = dict(pairs_of(arguments.map))
    stages = " ".join(arguments.stages)
    return say(service(arguments).pipeline(arguments.name, stages, mapping, force=arguments.force))


def _add_export(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("file", metavar="FILE", type=Path, help="file to write, or a folder for NAME.onnx")
    parser.add_argument("--model-version", metavar="V", help="version; the one that serves by default")
    parser.add_argument("--force", action="store_true", help="replace data beside it")


def _export(arguments: argparse.Namespace) -> int:
    version, force = arguments.model_version, arguments.force
    return say(service(arguments).export(arguments.name, arguments.file, version=version, force=force))


def _unload(arguments: argparse.Namespace) -> int:
    service(arguments).unload(arguments.name)
    return say(f"{arguments.name} is unloaded")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("rows", metavar="FILE", help="file with rows, JSON or .npy; - reads JSON from standard input")


def _predict(arguments: argparse.Namespace) -> int:
    return say(service(arguments).predict(arguments.name, _rows(arguments.rows)))


def _rows(source: str) -> object:
    """Reads the rows in a file: an array, or parsed JSON (lists, or an object of them by input name)."""
    import numpy as np

    try:
        if source.endswith(".npy"):
            return np.load(source, allow_pickle=False)
        return json.loads(sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{source!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise InvalidInput(f"{source!r} holds no rows: JSON, or an array that numpy.save wrote") from None


def _models(arguments: argparse.Namespace) -> int:
    from workbench.client.shared_service import shared_service

    workbench = service(arguments, start=False)
    if workbench.shared and shared_service().record() is None:
        why, _ = shared_service().ended()
        return say(f"the service does not run: {why}; the next call that needs it starts it, with the same models")
    return say(workbench.models())


def _show(arguments: argparse.Namespace) -> int:
    return say(service(arguments).show(arguments.name))


def _add_set(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument("settings", metavar="KEY=VALUE", nargs="+", help="settings, like max_batch=32")


def _set(arguments: argparse.Namespace) -> int:
    pairs = [each.partition("=") for each in arguments.settings]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise InvalidInput(f"{wrong[0]!r} is not KEY=VALUE")
    return say(service(arguments).set(arguments.name, **{key: value for key, _, value in pairs}))


MODEL_VERBS: dict[str, Verb] = {
    "load": ("serve a model, or the next version of one", _add_load, _load),
    "pipeline": ("serve models one after another as one", _add_pipeline, _pipeline),
    "export": ("write a model's file, with the data beside it", _add_export, _export),
    "unload": ("unload every version of a model, after its current requests", add_name, _unload),
    "predict": ("send rows to a model and print its answer", _add_predict, _predict),
    "models": ("list every version of every model", add_nothing, _models),
    "show": ("describe one model in full", add_name, _show),
    "set": ("change a model's settings", _add_set, _set),
}
