"""Random small graphs of operators that keep rows apart and of operators that mix them."""

from __future__ import annotations

from random import Random

from onnx import ModelProto

from tests.helpers import random_computations, random_decisions, random_idioms, random_layouts  # noqa: F401
from tests.helpers.graph_builder import FLOAT, INT, GraphBuilder, N, Value, fixed
from tests.helpers.graph_makers import MAKERS


def random_model(random: Random, most: int = 7) -> ModelProto:
    """A model whose inputs are rows; it may not load, and it may not run."""
    g = GraphBuilder(random)
    for number in range(random.choice((1, 1, 1, 2))):
        dims = random.choice(((4,), (4,), (3, 4), (3, 4), (4, 4), (2, 3, 4), ()))
        kind = random.choice((FLOAT, FLOAT, FLOAT, INT))
        g.inputs.append(Value(f"x{number}", kind, (N, *map(fixed, dims))))
    g.values.extend(g.inputs)
    for _ in range(random.randint(1, most)):
        made = random.choice(MAKERS)(g, random)
        if made is not None:
            g.values.append(made)
    made_values = [value for value in g.values[len(g.inputs) :] if value.dims is None or value.rank]
    if not made_values:
        return g.model([Value(g.one("Identity", [g.inputs[0]]), g.inputs[0].kind, g.inputs[0].dims)])
    outputs = [made_values[-1]]
    if len(made_values) > 1 and random.random() < 0.3:
        outputs.append(random.choice(made_values[:-1]))
    return g.model(outputs)
