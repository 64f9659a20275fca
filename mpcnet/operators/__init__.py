"""The one table from ATen operators to protocols.

Modules of this package fill the table by family; importing the package fills it.
"""

from mpcnet.operators import arithmetic, comparison, extremes, functions, integers, linear, shape
from mpcnet.operators.table import dispatch, supported

__all__ = [
    "arithmetic",
    "comparison",
    "dispatch",
    "extremes",
    "functions",
    "integers",
    "linear",
    "shape",
    "supported",
]
