"""Opens a file with ONNX Runtime: as it is, or else a rewritten copy in memory, where only its form is in the way.

The file itself, its digest and what is stored stay the user's. It is read a second time only where ONNX Runtime did not
take it, or gives an output as a list of dicts; data beside it are found where it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.core.runtime import ORT_FORMAT
from workbench.errors import ModelError
from workbench.runtimes.ort import VERSION, ort
from workbench.runtimes.ort_errors import TooNew, load_error, too_new

if TYPE_CHECKING:
    import onnx

_FOLDER = "session.model_external_initializers_file_folder_path"
"""Where data beside a model in memory lie."""

_CPU = "CPUExecutionProvider"
_MOST_LABELS = 12


class OpenedSession(NamedTuple):
    session: ort.InferenceSession
    notes: tuple[str, ...]
    """What was rewritten for it, as sentences."""
    unranked: frozenset[str]
    """Its inputs and outputs whose number of axes is not known; ONNX Runtime gives them the shape of a scalar."""


def open_session_of(
    path: Path, options: ort.SessionOptions, providers: Sequence[Any], content: bytes | None = None
) -> OpenedSession:
    """A session for the file at `path`, or for the ONNX file `content` that lies in it. Raises ModelError."""
    options.add_session_config_entry(_FOLDER, str(path.parent))  # read for a model in memory only
    source = path if content is None else content
    try:
        session = _session(source, options, providers)
        lowered: list[TooNew] = []
        model = None
    except Exception as error:
        if too_new(error) is None:
            raise load_error(error) from None
        session, model, lowered = _lowered(source, options, providers)
    notes = _lowering_notes(lowered)
    without_axes = frozenset(each.name for each in (*session.get_inputs(), *session.get_outputs()) if not each.shape)
    if path.suffix in ORT_FORMAT.suffixes:
        return OpenedSession(session, (), without_axes)
    if any("map(" in output.type for output in session.get_outputs()):
        from workbench.graph.zipmap import drop_zipmaps

        model = model or _parsed(source)
        if labels := drop_zipmaps(model):
            del session  # before the other is made: a large model is not to be held twice
            notes += [_zipmap_note(output, names) for output, names in labels.items()]
            try:
                session = _session(model, options, providers)
            except Exception as error:
                raise load_error(error) from None
    if without_axes:
        without_axes &= _without_shape(model or _parsed(source))
    return OpenedSession(session, tuple(notes), without_axes)


def _lowered(
    source: Path | bytes, options: ort.SessionOptions, providers: Sequence[Any]
) -> tuple[ort.InferenceSession, onnx.ModelProto, list[TooNew]]:
    """The file, read as of older versions one after the other, until it loads."""
    from workbench.graph.opset_lowering import lower_ir, lower_opset

    model = _parsed(source)
    lowered: list[TooNew] = []
    # ONNX Runtime names one version at a time, so they are asked for with an empty model: a large one takes seconds.
    empty: onnx.ModelProto | None = _emptied(model)
    while True:
        try:
            session = _session(empty or model, options, [_CPU] if empty else providers)
        except Exception as error:
            newer = too_new(error)
            if newer is None or newer in lowered:
                # Mostly a datatype that an operator takes in the newer opset only.
                said = "".join(f"; {each}" for each in lowered)
                raise ModelError(f"{load_error(error).message}{said}") from None
            domain, _, version = newer
            if problem := lower_opset(model, domain, version) if domain else lower_ir(model, version):
                raise ModelError(f"the model failed to load: {newer}; {problem}, so {newer.remedy}") from None
            lowered.append(newer)
            empty = empty and _emptied(model)
            continue
        if not empty:
            return session, model, lowered
        empty = None


def _emptied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of one node that says the same versions."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, []), helper.make_tensor_value_info("y", 1, [])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", value[:1], value[1:])
    return helper.make_model(graph, ir_version=model.ir_version, opset_imports=model.opset_import)


def _session(
    source: Path | bytes | onnx.ModelProto, options: ort.SessionOptions, providers: Sequence[Any]
) -> ort.InferenceSession:
    given: Path | bytes = source if isinstance(source, Path | bytes) else source.SerializeToString()
    session = ort.InferenceSession(given, options, providers=providers, enable_fallback=0, read_config_from_model=0)
    session._model_bytes = None  # a second copy of all weights, for a fallback that is switched off
    return session


def _parsed(source: Path | bytes) -> onnx.ModelProto:
    import onnx

    from workbench.graph.wire_check import check_wire

    content = source if isinstance(source, bytes) else source.read_bytes()
    check_wire(content)  # whatever a trial was made to say of it
    model = onnx.ModelProto()
    model.ParseFromString(content)
    return model


def _without_shape(model: onnx.ModelProto) -> frozenset[str]:
    """The inputs and outputs of which the file says no shape, not even that of a scalar."""
    values = (*model.graph.input, *model.graph.output)
    return frozenset(value.name for value in values if not value.type.tensor_type.HasField("shape"))


def _lowering_notes(lowered: Sequence[TooNew]) -> list[str]:
    if not lowered:
        return []
    found, newest = (" and ".join(each) for each in zip(*(each.versions for each in lowered), strict=True))
    return [
        f"Its file says {found}, and ONNX Runtime {VERSION} reads up to {newest}: it is read as of that, since nothing "
        "in it needs the newer."
    ]


def _zipmap_note(output: str, labels: Sequence[str]) -> str:
    shown = ", ".join(label[:40] for label in labels[:_MOST_LABELS])
    more = f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
    return (
        f"Output {output!r} is a tensor: the ZipMap that would make dicts of it is left out here. Its columns are the "
        f"classes {shown}{more}."
    )
