from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from workbench.convert.pytorch import last_calls
from workbench.convert.pytorch.last_calls import CALLS_A_CELL, last_call, stop_watching, watch_cell


def hooks() -> int:
    return len(torch.nn.modules.module._global_forward_pre_hooks)


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(last_calls, "_something_is_compiled", lambda: False)  # by another test
    watch_cell()
    yield
    stop_watching()
    assert not hooks()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, *, mask: Any = None, times: float = 1.0) -> torch.Tensor:
        return self.inner(x) * times


def test_arguments_by_place_and_by_name_are_kept_of_the_outermost_module() -> None:
    net, x = Net(), torch.ones(3, 4)
    net(x, mask={"m": [torch.zeros(3)]}, times=2.0)
    args, kwargs = last_call(net)  # type: ignore[misc]
    assert torch.equal(args[0], x)
    assert args[0].data_ptr() != x.data_ptr()
    assert kwargs["times"] == 2.0
    assert torch.equal(kwargs["mask"]["m"][0], torch.zeros(3))
    assert last_call(net.inner) is None
    net(torch.ones(5, 2, 4))
    assert last_call(net)[0][0].shape == (5, 2, 4)  # type: ignore[index]


def test_of_a_large_call_two_rows_are_kept_and_of_a_huge_one_nothing() -> None:
    identity, other = nn.Identity(), nn.Identity()
    identity(torch.zeros(1000, 1000))
    assert last_call(identity)[0][0].shape == (2, 1000)  # type: ignore[index]
    other(torch.zeros(2, 5_000_000))
    assert last_call(other) is None


def test_what_may_hold_anything_is_not_kept_and_a_module_is_not_kept_alive() -> None:
    net = Net()
    net(torch.ones(1, 4), mask=object())
    assert last_call(net) is None
    net(torch.ones(1, 4))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_the_hook_goes_after_the_first_calls_of_a_cell_and_comes_with_the_next() -> None:
    net = nn.Identity()
    for _ in range(CALLS_A_CELL + 1):
        net(0)
    assert hooks() == 0
    watch_cell()
    watch_cell()
    assert hooks() == 1


def test_a_compiled_module_meets_no_hook_while_it_is_compiled() -> None:
    met: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        met.append(hooks())
        return graph.forward

    net = Net()
    torch.compile(net, backend=backend)(torch.ones(2, 4))
    assert met == [0]
    assert last_call(net)[0][0].shape == (2, 4)  # type: ignore[index]
    assert not last_calls._something_is_compiled()


def test_nothing_is_watched_once_something_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_watching()
    monkeypatch.undo()
    torch.compile(Net(), backend="eager")(torch.ones(2, 4))
    watch_cell()
    assert hooks() == 0


def test_what_is_kept_from_being_compiled_keeps_nothing_from_being_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras does that to functions of its own when it is imported."""
    stop_watching()
    monkeypatch.undo()
    torch._dynamo.reset()
    torch._dynamo.disable(lambda x: x)(torch.ones(1))
    watch_cell()
    net = Net()
    net(torch.ones(2, 4))
    assert last_call(net) is not None


def test_a_hook_that_is_traced_over_leaves_nothing_in_the_trace() -> None:
    traced = torch.fx.symbolic_trace(Net())
    assert [node.op for node in traced.graph.nodes if node.op == "call_method"] == []
