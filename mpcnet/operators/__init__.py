"""The one table from ATen operators to protocols.

Modules of this package fill the table by family; importing the package fills it.
"""

from mpcnet.operators import (
    arithmetic,
    backward,
    comparison,
    composite,
    extremes,
    functions,
    linear,
    shape,
)
from mpcnet.operators.table import dispatch, supported

__all__ = [
    "arithmetic",
    "backward",
    "comparison",
    "composite",
    "dispatch",
    "extremes",
    "functions",
    "linear",
    "shape",
    "supported",
]
