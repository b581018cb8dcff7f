"""Proves from a graph whether the rows of a batch can change each other, operator by operator."""

from workbench.graph.batch_axis.analysis_of_batch import analyse

__all__ = ["analyse"]
