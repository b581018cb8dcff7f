"""Rules of operators that are random: no row's answer can be compared with another run's."""

from __future__ import annotations

from workbench.graph.batch_axis.batch_values import Result, RowsMix
from workbench.graph.batch_axis.operator_rules import MICROSOFT, Inputs, Node, rule

_RANDOM = "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"


@rule(_RANDOM, shapes=range(8), places=True)
@rule("BiasDropout BitmaskDropout BitmaskBiasDropout Sampling", domain=MICROSOFT, shapes=range(16), places=True)
def random(node: Node, inputs: Inputs) -> list[Result]:
    raise RowsMix("is random, so rows alone and together cannot be compared")
