"""The parameters of a request that the service reads, and the timings in a response's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from workbench.core.messages import (
    CacheUse,
    InferRequest,
    Parameter,
    ReleaseReason,
    SequenceStep,
    StageTimings,
    Timings,
)
from workbench.errors import InvalidInput

MAX_SEQUENCE_ID: Final = 128
"""Characters of a sequence_id, as in Triton."""


def take_flag(parameters: dict[str, Parameter], name: str) -> bool:
    """Take a flag out of `parameters`; False if it is missing. Raises InvalidInput."""
    value = parameters.pop(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"the parameter {name} must be true or false, got {str(value)[:40]!r}")
    return value


def take_whole(parameters: dict[str, Parameter], name: str) -> int:
    """Take a whole number out of `parameters`; 0 if it is missing. Raises InvalidInput."""
    value = parameters.pop(name, 0)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise InvalidInput(f"the parameter {name} must be a whole number from 0, got {str(value)[:40]!r}")
    return value


def take_schedule(parameters: dict[str, Parameter], request: InferRequest, now: float) -> None:
    """Move `priority`, `timeout` and the place in a sequence from `parameters` to `request`; the timeout begins at
    `now`.

    The others must not be reserved by the protocol. Raises InvalidInput.
    """
    request.priority = take_whole(parameters, "priority")
    if timeout_us := take_whole(parameters, "timeout"):
        request.deadline = now + timeout_us / 1e6
    if parameters:
        request.sequence = _take_sequence(parameters)
        _take_reserved(parameters)


def _take_sequence(parameters: dict[str, Parameter]) -> SequenceStep | None:
    id = parameters.pop("sequence_id", 0)
    if isinstance(id, bool) or not isinstance(id, int | str):
        raise InvalidInput(f"the parameter sequence_id must be a whole number or text, got {str(id)[:40]!r}")
    if isinstance(id, int):
        # gRPC has it as an int64, and clients send the upper half of a uint64 as negative numbers.
        if not -1 << 63 <= id < 1 << 64:
            raise InvalidInput(f"the parameter sequence_id must be a number of 64 bits, got {str(id)[:40]}")
        id %= 1 << 64
    elif len(id) > MAX_SEQUENCE_ID:
        raise InvalidInput(f"the parameter sequence_id has {len(id)} characters; {MAX_SEQUENCE_ID} are the most")
    start, end = take_flag(parameters, "sequence_start"), take_flag(parameters, "sequence_end")
    return SequenceStep(id, start, end) if id or start or end else None


def _take_reserved(parameters: dict[str, Parameter]) -> None:
    for name in [name for name in parameters if name.startswith("triton_")]:
        if name != "triton_enable_empty_final_response":
            raise InvalidInput(f"the parameter {name[:40]!r}: names that begin with triton_ are reserved")
        take_flag(parameters, name)  # ignored: every response here is the last one


def schedule_parameters(request: InferRequest, now: float) -> dict[str, Parameter]:
    """Return the parameters to send: with the priority, and with the time left at `now` until the deadline."""
    parameters = dict(request.parameters)
    if request.priority:
        parameters["priority"] = request.priority
    if (step := request.sequence) is not None:
        parameters |= {"sequence_id": step.id, "sequence_start": step.start, "sequence_end": step.end}
    if request.deadline is not None:
        # 0 would mean no deadline at all.
        parameters["timeout"] = max(1, round((request.deadline - now) * 1e6))
    return parameters


_TIMES = (("queue_us", "queued_s"), ("batch_us", "batched_s"), ("compute_us", "ran_s"), ("split_us", "split_s"))


CACHE: Final = "cache"
"""The parameter of an answer that was not run itself: `CacheUse` says where it came from."""


STAGES: Final = "stages"
"""The parameter with the stages of a pipeline as JSON, since the protocol has no lists among parameters."""


def timings_out(timings: Timings) -> dict[str, Parameter]:
    found = _own_out(timings)
    if timings.stages:
        found[STAGES] = msgspec.json.encode(stages_out(timings.stages)).decode()
    return found


def stages_out(stages: Sequence[StageTimings]) -> list[dict[str, Any]]:
    """Return what each stage took; one that is a pipeline itself has `stages` of its own."""
    return [
        {
            "stage": each.stage,
            "version": each.version,
            "began_us": round(each.began_s * 1e6, 1),
            **_own_out(each.timings),
            **({STAGES: stages_out(each.timings.stages)} if each.timings.stages else {}),
        }
        for each in stages
    ]


def _own_out(timings: Timings) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {name: round(getattr(timings, field) * 1e6, 1) for name, field in _TIMES}
    found["batch_size"] = timings.batch_size
    found["batch_requests"] = timings.batch_requests
    found["release_reason"] = str(timings.release_reason)
    return found


def timings_in(parameters: Mapping[str, Any]) -> Timings:
    """Decode the timings in a response's parameters; missing or unknown ones keep their defaults."""
    try:
        stages = parameters.get(STAGES)
        return _own_in(parameters, _stages_in(msgspec.json.decode(stages)) if stages else ())
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError, RecursionError, msgspec.MsgspecError):
        return Timings()


def _stages_in(found: Sequence[Mapping[str, Any]]) -> list[StageTimings]:
    return [
        StageTimings(
            str(each["stage"]),
            str(each["version"]),
            float(each["began_us"]) / 1e6,
            _own_in(each, _stages_in(each.get(STAGES, ()))),
        )
        for each in found
    ]


def _own_in(parameters: Mapping[str, Any], stages: Sequence[StageTimings]) -> Timings:
    queued, batched, ran, split = (float(parameters.get(name, 0.0)) / 1e6 for name, _ in _TIMES)
    reason = ReleaseReason(parameters.get("release_reason", ReleaseReason.IDLE))
    size, requests = int(parameters.get("batch_size", 0)), int(parameters.get("batch_requests", 0))
    cache = CacheUse(parameters.get(CACHE, CacheUse.NONE))
    return Timings(queued, batched, ran, split, size, requests, reason, stages=stages, cache=cache)
