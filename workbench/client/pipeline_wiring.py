"""Joins the stages of a pipeline of models: which output becomes which input, by name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.core.model import ModelStatus, Signature, TensorSpec, check_model_name
from workbench.core.pipeline import Pipeline, PipelineStep, stage_labels
from workbench.core.pipeline_document import checked
from workbench.core.tensor import BYTES, DTYPES
from workbench.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Stages:
    """Models one after another, as `a >> b` makes them of handles; `Workbench.pipeline` serves them."""

    models: tuple[str, ...]

    def __rshift__(self, other: object) -> Stages:
        return Stages((*self.models, *stages_of(other).models))

    def __rrshift__(self, other: object) -> Stages:
        return stages_of(other) >> self

    def __repr__(self) -> str:
        return f"<Stages {' >> '.join(self.models)}>"


def stages_of(source: object) -> Stages:
    """The stages that a caller gives: Stages, a handle, "a >> b" as text, or a list of these. Raises InvalidInput."""
    if isinstance(source, Stages):
        return source
    if isinstance(source, str):
        names = [each.strip() for each in source.split(">>")]
        if len(names) == 1:  # the plain form: names with spaces or commas between them
            names = source.replace(",", " ").split()
        return Stages(tuple(check_model_name(name) for name in names))
    if isinstance(source, Sequence):
        return Stages(tuple(name for each in source for name in stages_of(each).models))
    name = getattr(source, "name", None)
    if isinstance(name, str):
        return Stages((check_model_name(name),))
    raise InvalidInput(
        f'the stages of a pipeline are models, as wb["a"] >> wb["b"] or "a >> b", got {type(source).__name__}'
    )


def wired(statuses: Sequence[ModelStatus], mapping: Mapping[str, str] | None = None) -> tuple[Pipeline, Signature]:
    """The pipeline of these models, one after another, with its own inputs and outputs.

    An input of a stage is what `mapping` says; else the output of that name of the nearest stage before it; else, where
    the stage before has one output and this input is the only one left, that; else the pipeline's input of that name,
    where the first stage or `mapping` has one. The pipeline's outputs are those of the last stage.

    `mapping` has "STAGE.INPUT" -> "STAGE.OUTPUT" or the name of an input of the pipeline, and, for a further output of
    the pipeline, its name -> "STAGE.OUTPUT". Raises InvalidInput, saying what there is.
    """
    return _Wiring(statuses, mapping or {}).done()


class _Wiring:
    def __init__(self, statuses: Sequence[ModelStatus], mapping: Mapping[str, str]) -> None:
        if not statuses:
            raise InvalidInput('a pipeline needs at least one stage, as "a >> b"')
        self._labels = stage_labels(status.name for status in statuses)
        self._models = [status.name for status in statuses]
        self._signatures = [_signature(status) for status in statuses]
        self._given: dict[tuple[int, str], str] = {}
        """(stage, input) -> what the mapping says."""
        self._further: dict[str, tuple[int, str]] = {}
        """Output of the pipeline -> (stage, output)."""
        self._own: dict[str, TensorSpec] = {}
        """The pipeline's inputs so far."""
        for key, value in mapping.items():
            self._take(key, value)

    def done(self) -> tuple[Pipeline, Signature]:
        last = len(self._labels) - 1
        taken = [self._inputs(index) for index in range(last + 1)]
        outputs = {spec.name: (last, spec) for spec in self._signatures[last].outputs}
        for name, (index, output) in self._further.items():
            if name in outputs:
                raise InvalidInput(f"the pipeline has an output {name!r} already, of its last stage; name it otherwise")
            outputs[name] = index, self._output(index, output)
        used = {source for inputs in taken for source in inputs.values() if isinstance(source, tuple)}
        used |= {(index, spec.name) for index, spec in outputs.values()}
        if idle := [self._labels[index] for index in range(last + 1) if not any(each[0] == index for each in used)]:
            raise InvalidInput(
                f"no later stage takes an output of {idle[0]!r}; say which one does, as "
                f'{{"{self._labels[-1]}.INPUT": "{idle[0]}.OUTPUT"}}'
            )
        steps = tuple(
            PipelineStep(
                self._models[index],
                None,
                {name: _tensor(source) for name, source in taken[index].items()},
                {spec.name: _tensor((index, spec.name)) for spec in signature.outputs if (index, spec.name) in used},
            )
            for index, signature in enumerate(self._signatures)
        )
        pipeline = Pipeline(
            steps,
            {name: _tensor(name) for name in self._own},
            {name: _tensor((index, spec.name)) for name, (index, spec) in outputs.items()},
        )
        signature = Signature(
            tuple(self._own.values()),
            tuple(TensorSpec(name, spec.datatype, spec.shape, spec.ranked) for name, (_, spec) in outputs.items()),
        )
        try:
            return checked(pipeline, signature), signature
        except ValueError as error:
            raise InvalidInput(str(error)) from None

    def _inputs(self, index: int) -> dict[str, str | tuple[int, str]]:
        """Input of a stage -> the pipeline's input, or (stage, output)."""
        found: dict[str, str | tuple[int, str]] = {}
        left = []
        for spec in self._signatures[index].inputs:
            source = self._by_mapping(index, spec) or self._by_name(index, spec)
            if source is None:
                left.append(spec)
            else:
                found[spec.name] = source
        before = self._signatures[index - 1].outputs if index else ()
        taken = any(isinstance(source, tuple) and source[0] == index - 1 for source in found.values())
        if len(left) == 1 and len(before) == 1 and not taken:
            found[left[0].name] = index - 1, before[0].name
            left = []
        for spec in left:
            if index and spec.name not in self._own:
                raise InvalidInput(self._nothing_gives(index, spec))
            found[spec.name] = self._own_input(index, spec.name, spec)
        for spec in self._signatures[index].inputs:
            self._check(index, spec, found[spec.name])
        return found

    def _by_mapping(self, index: int, spec: TensorSpec) -> str | tuple[int, str] | None:
        said = self._given.get((index, spec.name))
        if said is None:
            return None
        stage = self._stage_of(said)
        if stage is None:
            return self._own_input(index, said, spec)
        if stage[0] >= index:
            raise InvalidInput(f"stage {self._labels[index]!r} cannot take {said!r}, which comes after it")
        self._output(*stage)
        return stage

    def _by_name(self, index: int, spec: TensorSpec) -> tuple[int, str] | None:
        for earlier in reversed(range(index)):
            if any(output.name == spec.name for output in self._signatures[earlier].outputs):
                return earlier, spec.name
        return None

    def _own_input(self, index: int, name: str, spec: TensorSpec) -> str:
        self._own.setdefault(name, TensorSpec(name, spec.datatype, spec.shape, spec.ranked))
        return name

    def _check(self, index: int, spec: TensorSpec, source: str | tuple[int, str]) -> None:
        if isinstance(source, str):
            given, what = self._own[source], f"the pipeline's input {source!r}"
        else:
            given, what = self._output(*source), f"output {source[1]!r} of {self._labels[source[0]]!r}"
        if not spec.may_be(given):
            raise InvalidInput(
                f"{what} is {given.datatype} {given.axes}, and input {spec.name!r} of {self._labels[index]!r} takes "
                f"{spec.datatype} {spec.axes}{_converted(given, spec)}"
            )

    def _take(self, key: str, value: str) -> None:
        """One entry of the mapping."""
        if not (isinstance(key, str) and isinstance(value, str)):
            raise InvalidInput('the mapping is of texts, as {"b.x": "a.y"}')
        stage = self._stage_of(key)
        if stage is None:
            source = self._stage_of(value)
            if source is None:
                raise InvalidInput(f"neither {key!r} nor {value!r} begins with a stage; the stages are {self._named}")
            self._further[key] = source
            return
        index, name = stage
        inputs = [spec.name for spec in self._signatures[index].inputs]
        if name not in inputs:
            raise InvalidInput(f"stage {self._labels[index]!r} has no input {name!r}; it has {_listed(inputs)}")
        self._given[index, name] = value

    def _stage_of(self, text: str) -> tuple[int, str] | None:
        """(stage, name) of "STAGE.NAME"; of stages whose names begin alike the longest."""
        found = [(len(label), index) for index, label in enumerate(self._labels) if text.startswith(f"{label}.")]
        if not found:
            return None
        length, index = max(found)
        return index, text[length + 1 :]

    def _output(self, index: int, name: str) -> TensorSpec:
        for spec in self._signatures[index].outputs:
            if spec.name == name:
                return spec
        outputs = [spec.name for spec in self._signatures[index].outputs]
        raise InvalidInput(f"stage {self._labels[index]!r} has no output {name!r}; it has {_listed(outputs)}")

    def _nothing_gives(self, index: int, spec: TensorSpec) -> str:
        label = self._labels[index]
        there = [f"{self._labels[i]}.{each.name}" for i in range(index) for each in self._signatures[i].outputs]
        return (
            f"nothing before stage {label!r} is called {spec.name!r}, as its input; say what it takes, as "
            f'{{"{label}.{spec.name}": "{there[-1]}"}} (--map {label}.{spec.name}={there[-1]}), or '
            f"name an input of the pipeline, as "
            f'{{"{label}.{spec.name}": "{spec.name}"}}. There are {_listed(there)}'
        )

    @property
    def _named(self) -> str:
        return _listed(self._labels)


def _signature(status: ModelStatus) -> Signature:
    if status.signature is None:
        why = f" ({status.reason})" if status.reason else ""
        raise InvalidInput(f"model {status.name!r} is {status.state}{why}, so its inputs and outputs are not known yet")
    return status.signature


def _converted(given: TensorSpec, wanted: TensorSpec) -> str:
    """What to do where numbers of another type meet; empty where that would not do."""
    number = DTYPES.get(wanted.datatype)
    if (
        number is None
        or BYTES in (wanted.datatype, given.datatype)
        or not wanted.may_be(replace(given, datatype=wanted.datatype))
    ):
        return ""
    return (
        f"; let what is before give it so, or put a function between them: return {{{wanted.name!r}: "
        f"{given.name}.astype({number.name!r})}}"
    )


def _tensor(source: str | tuple[int, str]) -> str:
    """A name that no other tensor of the pipeline has: stages are numbered, and inputs begin with a slash."""
    return f"/{source}" if isinstance(source, str) else f"{source[0]}/{source[1]}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def pairs_of(text: str) -> Iterator[tuple[str, str]]:
    """The entries of "b.x=a.y,c.z=a.y", as flags have a mapping. Raises InvalidInput."""
    for entry in filter(None, (each.strip() for each in text.split(","))):
        key, equals, value = entry.partition("=")
        if not (key and equals and value):
            raise InvalidInput(f"a mapping is INPUT=OUTPUT, as b.x=a.y, got {entry[:80]!r}")
        yield key.strip(), value.strip()
