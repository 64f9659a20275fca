"""What an error about an operator tells beside its name: the module it came from, and a way out."""

import difflib
import inspect
from collections.abc import Sequence

from torch import nn

__all__ = ["advice", "running_module"]

_INSTEAD = {
    "acos": "pi / 2 - asin, which is not there either: approximate it by a polynomial",
    "as_strided": "view, transpose, unfold and slices, which know their strides",
    "asin": "a polynomial over the range that you know: x, x**3 and so on",
    "atan": "a polynomial over the range that you know, or sigmoid and tanh",
    "cummax": "max over slices, or sort",
    "histc": "comparisons with the public edges, and sums of them",
    "inverse": "linalg_inv on revealed values, or an iteration of matrix products",
    "linalg_inv_ex": "an iteration of matrix products, or solve in the clear after a reveal",
    "linalg_solve_ex": "an iteration of matrix products, or solve in the clear after a reveal",
    "_linalg_svd": "an iteration of matrix products, or the SVD in the clear after a reveal",
    "masked_select": "a public mask, or x * mask, which keeps every place",
    "_unique2": "sort, and comparisons of neighbours: how many differ is itself a secret",
    "unique_dim": "sort, and comparisons of neighbours: how many differ is itself a secret",
}
"""By name of an operator that people miss: what does the same work."""


def advice(name: str, known: Sequence[str]) -> str:
    """What to use instead of an operator.

    Args:
        name: as ATen spells it, without the overload.
        known: the operators of the table, with overloads.
    """
    if name in _INSTEAD:
        return _INSTEAD[name]
    names = sorted({each.split(".")[1] for each in known})
    close = difflib.get_close_matches(name, names, n=3)
    nearest = f"perhaps {', '.join(close)}; " if close else ""
    return f"{nearest}docs/operators.md lists every supported operator"


def running_module() -> str:
    """Where in a model torch is now, as `encoder.layers.0.norm1 (LayerNorm)`; "" outside of one.

    Reads the frames of the calls that led here, so it costs nothing until something is wrong.
    """
    running: list[nn.Module] = []
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_locals.get("self") if frame.f_code.co_name == "_call_impl" else None
        if isinstance(found, nn.Module) and (not running or running[-1] is not found):
            running.append(found)
        frame = frame.f_back
    if not running:
        return ""
    outermost, innermost = running[-1], running[0]
    paths = {id(module): path for path, module in outermost.named_modules()}
    path = paths.get(id(innermost), "")
    kind = type(innermost).__name__
    return f"{path} ({kind})" if path else kind
