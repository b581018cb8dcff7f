"""The second level of a model's cache: what several services keep together, for runs that take longer than asking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from workbench.core.messages import InferRequest
from workbench.core.model import TensorSpec
from workbench.core.ports import SharedAnswers
from workbench.core.tensor import Array
from workbench.engine.result_cache.request_key import RequestKeys
from workbench.engine.result_cache.stored_answer import open_answer, seal_answer

LEAST_RUN_S: Final = 1e-3
"""A run that is shorter is repeated rather than asked for."""

ROUND_TRIPS: Final = 2
"""A run must take so many times what asking takes."""

LONGEST_TTL_S: Final = 86_400.0
"""Where answers do not age, since no service takes them away."""

Found = tuple[Mapping[str, Array], float]
"""The outputs, and the seconds of their run."""

_RECENT: Final = 0.2
"""The weight of the latest run in their mean."""


class RemoteAnswers:
    def __init__(self, shared: SharedAnswers, outputs: Sequence[TensorSpec], *load: str) -> None:
        """`load`: what all services must have in common for an answer to be the same."""
        self.shared = shared
        self.run_s = 0.0
        """What runs take, the latest ones most; 0: not known yet."""
        self._specs = {spec.name: spec for spec in outputs}
        self._load = load
        self._keys = RequestKeys(shared.secret, *load)

    def ran(self, run_s: float) -> None:
        self.run_s = run_s if not self.run_s else self.run_s + _RECENT * (run_s - self.run_s)

    @property
    def pays(self) -> bool:
        return self.run_s > max(LEAST_RUN_S, ROUND_TRIPS * self.shared.round_trip_s)

    def key(self, request: InferRequest, outputs: tuple[str, ...], scope: str | None) -> bytes | None:
        return self._keys.key(request, outputs, scope)

    def get(self, key: bytes, outputs: tuple[str, ...], done: Callable[[Found | None], None]) -> None:
        wanted = [self._specs[name] for name in outputs]

        def read(value: bytes | None) -> None:
            done(None if value is None else open_answer(self.shared.secret, key, value, wanted))

        self.shared.get(key, read)

    def put(self, key: bytes, outputs: Mapping[str, Array], cost_s: float, ttl_s: float) -> None:
        value = seal_answer(self.shared.secret, key, outputs, cost_s)
        if value is not None:
            self.shared.put(key, value, ttl_s or LONGEST_TTL_S)
