"""Protocols by which packages use each other without importing each other: Session, Observer, Journal, Inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

from workbench.core.messages import InferRequest, InferResponse, ReleaseReason, Timings
from workbench.core.model import DesiredModel, ModelStatus, Signature
from workbench.core.tensor import Array
from workbench.core.version_plan import VersionPlan


class Session(Protocol):
    """A loaded model that can run. `run` may be called from `runner_threads` threads at once, no more."""

    platform: str
    signature: Signature
    device: str
    """The device that it really runs on, checked at creation: "cpu" or "cuda:0"."""
    runner_threads: int
    """The number of threads that may call `run` on this session at the same time; 0: any number."""
    notes: tuple[str, ...]
    """Remarks for the user on how this model came to run here."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The named outputs, in the order asked for.

        Blocks, and releases the GIL while it does. The arrays given back belong to the caller and stay valid.
        Raises InvalidInput for what the model itself refuses, ExecutionError for any other failure.
        """
        ...

    def close(self) -> None:
        """Give back memory. Called once, after the last `run` has returned."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A Session that can tell where its nodes run."""

    placement: Mapping[str, Mapping[str, int]]
    """Execution provider -> operator -> nodes."""


@runtime_checkable
class Interruptible(Protocol):
    """A Session whose runs can be ended from outside."""

    def interrupt(self, thread: int) -> None:
        """Have the run end that this thread (threading.get_ident) is inside, with any error, as soon as the runtime
        looks. From any thread; returns at once."""
        ...


@runtime_checkable
class Trimmable(Protocol):
    """A Session that keeps memory of earlier runs for later ones."""

    def trim(self) -> None:
        """Give back what no run uses at the moment. Blocks; from any thread, also while others run."""
        ...


@runtime_checkable
class Exampled(Protocol):
    """A Session whose inputs cannot be made up from their datatypes alone, as pictures cannot."""

    def examples(self, rows: int, seed: int) -> dict[str, Array]:
        """`rows` rows of all inputs, others for another seed."""
        ...


class Outcome(StrEnum):
    """The outcome of a request; each accepted one ends exactly once."""

    OK = "ok"
    INVALID = "invalid"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


NO_ERRORS = (Outcome.OK, Outcome.CANCELLED)
"""The outcomes of requests that are no errors; a caller that left is none."""


def errors_in(outcomes: Mapping[str, int]) -> int:
    """The number of requests that failed, of those counted by outcome."""
    return sum(count for outcome, count in outcomes.items() if outcome not in NO_ERRORS)


class Observer(Protocol):
    """Told what happens; all calls come on the event loop's thread, and none may block or raise."""

    def request_done(self, model: str, version: str, outcome: Outcome, timings: Timings | None) -> None:
        """One request ended. `timings` is there when it was run."""
        ...

    def answered(
        self, model: str, version: str, queued_s: Sequence[float], batched_s: float, ran_s: float, split_s: float
    ) -> None:
        """Requests of one batch ended OK: a `queued_s` each, and what they had in common, as `Timings` has it."""
        ...

    def batch_done(
        self, model: str, version: str, rows: int, requests: int, reason: ReleaseReason, ran_s: float
    ) -> None:
        """One batch was run, whatever came of it."""
        ...

    def model_changed(self, status: ModelStatus) -> None:
        """A version changed its state, its routing or its settings."""
        ...


class Journal(Protocol):
    """Remembers beyond the process what is to be served, and what was being tried when the process died.

    A method returns once it is on the disk, or raises StorageError and then nothing was noted. All block, and are
    called from any thread, but for one model by one at a time.
    """

    def attempting(self, model: DesiredModel) -> None:
        """`model` is about to be loaded: a process that ends now is taken to have died of it."""
        ...

    def restoring(self, model: DesiredModel) -> None:
        """As `attempting`, for a model that served before this process began and is desired all the same."""
        ...

    def serving(
        self, model: DesiredModel, plan: VersionPlan | None = None, beside: Sequence[DesiredModel] = ()
    ) -> None:
        """`model` is what its name is to serve from now on; an attempt is over. `plan` and `beside` as for
        `arranged`; None: they stay as they are."""
        ...

    def arranged(self, name: str, plan: VersionPlan, beside: Sequence[DesiredModel] = ()) -> None:
        """`plan` holds for the name from now on. `beside` are those of its versions beside the routed one that are
        loaded; what is known of the others stays. An attempt is over."""
        ...

    def restored(self, model: DesiredModel) -> None:
        """A version beside the routed one was restored, or failed in an orderly way: nothing is suspected of it."""
        ...

    def remembered(self, name: str, version: str) -> DesiredModel | None:
        """A version that was loaded or served under this name, with its settings; None: it is not known any more."""
        ...

    def settled(self, name: str) -> None:
        """The attempt is over, and what is desired stays as it was: it failed, was refused, or is staged."""
        ...

    def unloaded(self, name: str, version: str | None = None) -> None:
        """Nothing is desired under this name any more; or this version is not, which is not the one that serves."""
        ...


class SharedAnswers(Protocol):
    """Keeps answers outside the process, where other services find them. Belongs to the event loop's thread.

    It may lose, refuse or be late with anything: then nothing is found. No method raises or blocks.
    """

    secret: bytes
    """64 bytes that only the services have which share answers."""
    round_trip_s: float
    """What finding something takes; 0: not known yet."""

    @property
    def reason(self) -> str:
        """Why it is not asked at the moment, in one phrase; empty: it is."""
        ...

    def ready(self) -> bool:
        """False while there is no use in asking."""
        ...

    def get(self, key: bytes, done: Callable[[bytes | None], None]) -> None:
        """Call `done` once, on a later turn of the loop, within 2 ms: with what was put under the key, or None."""
        ...

    def put(self, key: bytes, value: bytes, ttl_s: float) -> None: ...


class Inference(Protocol):
    """Anything that answers inference requests: the Engine, a client, a handle on another machine."""

    async def infer(self, request: InferRequest) -> InferResponse:
        """One answer for one request, or one error of the tree in `workbench.errors`."""
        ...
