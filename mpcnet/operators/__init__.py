"""The one table from ATen operators to protocols.

Modules of this package fill the table by family; importing the package fills it.
"""

from mpcnet.operators import (
    adjoint,
    arithmetic,
    attention,
    backward,
    bags,
    comparison,
    composite,
    decomposed,
    extremes,
    functions,
    indexing,
    integers,
    linear,
    loss,
    lstm,
    normalization,
    placement,
    pooling,
    reduction,
    resampling,
    sampling,
    shape,
)
from mpcnet.operators.table import dispatch, supported

__all__ = [
    "adjoint",
    "arithmetic",
    "attention",
    "backward",
    "bags",
    "comparison",
    "composite",
    "decomposed",
    "dispatch",
    "extremes",
    "functions",
    "indexing",
    "integers",
    "linear",
    "loss",
    "lstm",
    "normalization",
    "placement",
    "pooling",
    "reduction",
    "resampling",
    "sampling",
    "shape",
    "supported",
]
