"""Every error that the workbench raises, one tree.

    WorkbenchError
        InvalidInput                what was sent cannot be used
            TooLarge                ... because it is over a cap
            UnsupportedMediaType    ... because of its content type
            MethodNotAllowed        ... because what it was sent to takes another method
        Unauthenticated             no token, or one that is not known
        Forbidden                   a known token without the needed scope, or a foreign Host or Origin
        NotFound                    no such route, model, version or output
            ModelNotFound
        Conflict                    another load of the model is under way, a version exists already
            SignatureChanged        ... or callers would break, which `force` allows
        Unavailable                 not now: not ready, draining, restarting
            CircuitOpen             refused at arrival, nothing was run: the model failed too often
            QueueFull               refused at arrival, nothing was run: the model's queue is full
                TooManyRequests     ... or too much of one caller, or of all together, is under way
                    LimitExceeded   ... or it is over a limit of the share that it came with
        DeadlineExceeded            the request's own deadline passed
        Cancelled                   the caller went away or cancelled
        Unsupported                 asked for something that this version does not do
        ModelError                  a model that cannot be served
            UntrustedModel          ... because it reaches outside its folder, or names a custom library
        StorageError                the disk is full or a folder cannot be written
        ExecutionError              the runtime failed while running a request

Each class carries a `code`, never an HTTP status: `protocols/status_codes.py` alone maps codes to what goes on a wire.
A message is one line, and what it quotes is made visible. It says what was asked, what was found and what to try, and
never holds a token, an internal name or a path that the caller did not send. Lines to paste are notes of the exception
(`add_note`), which are shown below it where it is raised and go no further.
"""

from __future__ import annotations

from typing import ClassVar

from workbench.visible_text import visible


class WorkbenchError(Exception):
    """Base of the tree; `code` is stable and is what clients may compare."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        self.message = visible(message)
        super().__init__(self.message)

    def _render_traceback_(self) -> list[str]:
        """What IPython prints for this error: one line and what is to be pasted, not our frames."""
        notes = (visible(note, keep="\n") for note in getattr(self, "__notes__", ()))
        return [f"{type(self).__name__}: {self.message}", *notes]


class InvalidInput(WorkbenchError):
    code = "invalid_argument"


class TooLarge(InvalidInput):
    code = "too_large"


class UnsupportedMediaType(InvalidInput):
    code = "unsupported_media_type"


class MethodNotAllowed(InvalidInput):
    code = "method_not_allowed"


class Unauthenticated(WorkbenchError):
    code = "unauthenticated"


class Forbidden(WorkbenchError):
    code = "forbidden"


class NotFound(WorkbenchError):
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class Conflict(WorkbenchError):
    code = "conflict"


class SignatureChanged(Conflict):
    """The new version has other inputs or outputs; with `force` it would have been taken."""

    code = "signature_changed"


def signature_changed(name: str, serving: str, difference: str) -> SignatureChanged:
    """`serving`: the version that serves; `difference`: of what, as `Signature.difference` says it."""
    return SignatureChanged(
        f"the new model of {name!r} has other inputs or outputs than version {serving}, which serves: {difference}. "
        "Its callers would break; load it under another name, or with force=True (--force) to replace it all the same"
    )


class Unavailable(WorkbenchError):
    code = "unavailable"


class Draining(Unavailable):
    """Refused before it was begun, by a service that is about to end or has no worker yet; the next one takes it."""

    code = "draining"


class CircuitOpen(Unavailable):
    """A call to a model that fails too often; it is tried again in `retry_after_s`."""

    code = "circuit_open"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Unavailable):
    code = "queue_full"


class TooManyRequests(QueueFull):
    code = "too_many_requests"


class LimitExceeded(TooManyRequests):
    """A call over a limit of its share. `policy` names the limit: `quota` requests in each `window_s` seconds."""

    code = "limit_exceeded"

    def __init__(
        self, message: str, retry_after_s: float = 1.0, policy: str = "", quota: int = 0, window_s: int = 1
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.policy = policy
        self.quota = quota
        self.window_s = window_s


class DeadlineExceeded(WorkbenchError):
    code = "deadline_exceeded"


class Cancelled(WorkbenchError):
    code = "cancelled"


class Unsupported(WorkbenchError):
    code = "unsupported"


class ModelError(WorkbenchError):
    code = "model_error"


class UntrustedModel(ModelError):
    code = "untrusted_model"


class StorageError(WorkbenchError):
    code = "storage"


class ExecutionError(WorkbenchError):
    code = "execution"
