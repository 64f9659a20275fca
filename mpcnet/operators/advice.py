"""What an error about an operator tells beside its name: the module it came from, and a way out."""

import difflib
import inspect
from collections.abc import Sequence

from torch import nn

__all__ = ["advice", "running_module"]

_CLEAR = "an iteration of matrix products, or the same in the clear after a reveal"
_POLYNOMIAL = "a polynomial over the range that you know: x, x**3 and so on"
_EDGES = "comparisons with the public edges, and sums of them"
_UNIQUE = "sort, and comparisons of neighbours: how many differ is itself a secret"

_INSTEAD = {
    "_embedding_bag_dense_backward": "embedding, and its sum or mean, where a bag is trained",
    "_fft_c2c": "products with the cosines and sines of the transform, as public matrices",
    "_fft_r2c": "products with the cosines and sines of the transform, as public matrices",
    "_linalg_det": _CLEAR,
    "_linalg_eigh": _CLEAR,
    "_linalg_solve_ex": _CLEAR,
    "_linalg_svd": _CLEAR,
    "_pack_padded_sequence": "sequences of one length, or one after the other",
    "_unique2": _UNIQUE,
    "acos": _POLYNOMIAL,
    "as_strided": "view, transpose, unfold and slices, which know their strides",
    "asin": _POLYNOMIAL,
    "atan": _POLYNOMIAL,
    "atan2": _POLYNOMIAL,
    "bucketize": _EDGES,
    "cummax": "max over slices, or sort",
    "cummin": "min over slices, or sort",
    "grid_sampler_2d": "interpolate, or index_select at public places",
    "histc": _EDGES,
    "linalg_cholesky_ex": _CLEAR,
    "linalg_inv_ex": _CLEAR,
    "linalg_qr": _CLEAR,
    "resize": "reshape, or pad and slices",
    "searchsorted": _EDGES,
    "unique_dim": _UNIQUE,
}
"""By name of an operator that people miss: what does the same work."""


def advice(name: str, known: Sequence[str]) -> str:
    """What to use instead of an operator.

    Args:
        name: as ATen spells it.
        known: the operators of the table, with overloads.
    """
    name, _, overload = name.partition(".")
    if "out" in overload:
        return "the same without out="
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name.startswith("_fused_"):
        return "the optimizer without fused=True"
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
