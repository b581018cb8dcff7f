"""A session over another one: all but what `run` does is the other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.core.model import Signature
from workbench.core.ports import Interruptible, Placed, Session, Trimmable
from workbench.core.tensor import Array


class WrappedSession:
    """Implements core.ports.Session; a subclass changes what goes into the other's `run` or comes out of it."""

    def __init__(self, session: Session, signature: Signature) -> None:
        """`signature` is what this one is called by."""
        self.platform = session.platform
        self.signature = signature
        self.device = session.device
        self.runner_threads = session.runner_threads
        self.notes = session.notes
        self.placement: Mapping[str, Mapping[str, int]] = session.placement if isinstance(session, Placed) else {}
        self._session = session

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        return self._session.run(inputs, outputs)

    def interrupt(self, thread: int) -> None:
        if isinstance(self._session, Interruptible):
            self._session.interrupt(thread)

    def trim(self) -> None:
        if isinstance(self._session, Trimmable):
            self._session.trim()

    def close(self) -> None:
        self._session.close()
