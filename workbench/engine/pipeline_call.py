"""One request on its way through the stages of a pipeline: which is next, what each took, what is still needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from workbench.core.messages import InferRequest, InferResponse, StageTimings, Timings
from workbench.core.pipeline import Pipeline
from workbench.core.tensor import Array
from workbench.engine.request_queue import Completion


class Course:
    """The steps of a pipeline that some of its outputs take, and what waits for what. Made once a set of outputs."""

    def __init__(self, pipeline: Pipeline, outputs: Sequence[str]) -> None:
        producers, steps = pipeline.producers, pipeline.steps
        self.outputs = {name: pipeline.outputs[name] for name in outputs}
        wanted = set(self.outputs.values())
        needed: set[int] = set()
        for index in reversed(range(len(steps))):
            if wanted.intersection(steps[index].outputs.values()):
                needed.add(index)
                wanted.update(steps[index].inputs.values())
        self.inputs = {name: tensor for name, tensor in pipeline.inputs.items() if tensor in wanted}
        self.uses = Counter(self.outputs.values())
        """Tensor -> how often it is still taken."""
        self.after: dict[int, set[int]] = {}
        """Step -> the steps that it waits for."""
        self.before: dict[int, list[int]] = {index: [] for index in needed}
        """Step -> the steps that wait for it."""
        self.asked: dict[int, tuple[str, ...]] = {}
        """Step -> the outputs to ask its model for."""
        for index in sorted(needed):
            step = steps[index]
            self.uses.update(step.inputs.values())
            self.after[index] = {producers[tensor] for tensor in step.inputs.values() if tensor in producers}
            for earlier in self.after[index]:
                self.before[earlier].append(index)
            self.asked[index] = tuple(name for name, tensor in step.outputs.items() if tensor in wanted)
        self.first = [index for index in sorted(needed) if not self.after[index]]


class PipelineCall:
    """Belongs to the event loop's thread, but for `left`. It holds what a stage gave no longer than another one, or the
    caller, still takes it."""

    __slots__ = (
        "accepted_at",
        "began_at",
        "course",
        "ended",
        "epochs",
        "paths",
        "promise",
        "request",
        "rows",
        "shares",
        "tensors",
        "uses",
        "waiting",
    )

    def __init__(self, request: InferRequest, promise: Completion, course: Course, rows: int, now: float) -> None:
        self.request = request
        self.promise = promise
        self.course = course
        self.rows = rows
        self.accepted_at = now
        self.ended = False
        self.tensors: dict[str, Array] = {tensor: request.inputs[name] for name, tensor in course.inputs.items()}
        self.uses = dict(course.uses)
        self.waiting = {index: len(earlier) for index, earlier in course.after.items()}
        self.began_at: dict[int, float] = {}
        self.shares: list[StageTimings] = []
        self.paths: dict[int, tuple[Timings, ...]] = {}
        """Step -> its own time, and that of the stages that it waited for, one after another."""
        self.epochs: dict[int, str] = {}

    def left(self) -> bool:
        """True where the caller does not wait any more. May be called from any thread."""
        request = self.request
        return self.promise.done() or (request.abandoned is not None and request.abandoned())

    def asks(self, index: int, step_inputs: Mapping[str, str], model: str, version: str | None) -> InferRequest:
        """The request to the model of a step whose tensors are all there."""
        request = self.request
        return InferRequest(
            model,
            {name: self._taken(tensor) for name, tensor in step_inputs.items()},
            version,
            self.course.asked[index],
            request.id,
            request.priority,
            request.deadline,
            request.parameters,
            request.trace,
            None,
            request.caller,
            self.left,
        )

    def took(self, index: int, label: str, step_outputs: Mapping[str, str], answer: InferResponse) -> list[int]:
        """Note the answer of a step; the steps that can be asked now."""
        course = self.course
        for name, array in answer.outputs.items():
            self.tensors[step_outputs[name]] = array
        began_s = self.began_at[index] - self.accepted_at
        self.shares.append(StageTimings(label, answer.version, began_s, answer.timings))
        waited_for = course.after[index]
        # The last of them to end is the one that this step was waiting for.
        path = next((path for each, path in reversed(self.paths.items()) if each in waited_for), ())
        self.paths[index] = (*path, answer.timings)
        self.epochs[index] = answer.epoch
        ready = []
        for later in course.before[index]:
            self.waiting[later] -= 1
            if not self.waiting[later]:
                ready.append(later)
        return ready

    @property
    def complete(self) -> bool:
        return len(self.paths) == len(self.course.after)

    def answers(self) -> dict[str, Array]:
        """The outputs of a call that is complete."""
        return {name: self.tensors[tensor] for name, tensor in self.course.outputs.items()}

    def timings(self, now: float) -> Timings | None:
        """What the stages took so far that others waited for; None where none has ended. The rest, which no stage
        measured, is in `split_s`."""
        if not self.paths:
            return None
        path = list(self.paths.values())[-1]
        slowest = max(path, key=lambda each: each.total_s)
        queued_s, batched_s = sum(each.queued_s for each in path), sum(each.batched_s for each in path)
        ran_s = sum(each.ran_s for each in path)
        rest_s = max(0.0, now - self.accepted_at - queued_s - batched_s - ran_s)
        return Timings(
            queued_s,
            batched_s,
            ran_s,
            rest_s,
            slowest.batch_size,
            slowest.batch_requests,
            slowest.release_reason,
            self.rows,
            slowest.batch_rows,
            self.shares,
        )

    @property
    def own_run_s(self) -> float:
        """Its share of the runs that it was in, by rows."""
        return sum(
            share.timings.ran_s * min(1.0, share.timings.rows / max(1, share.timings.batch_size))
            for share in self.shares
        )

    def _taken(self, tensor: str) -> Array:
        array = self.tensors[tensor]
        self.uses[tensor] -= 1
        if not self.uses[tensor]:
            del self.tensors[tensor]
        return array
