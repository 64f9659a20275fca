"""Correlated randomness as a function of mask names.

A `Mask` is a name; its value is the sum of what the holders' keys make of that name, so the dealer,
who holds all keys, can compute it and nobody else can. A `BitMask` names bits that only the dealer
knows. A request names masks and says which function of them is wanted; the answer is dealt in
shares. All parties but the last expand their shares from their keys. The last one receives
corrections: the value minus all other shares. The same request always has the same answer, and no
name is used for two values.
"""

from protocols.correlations.comparison import MAX_WINDOW_BITS, Comparison, Selection
from protocols.correlations.elementary import Exponential, OneHot, Sample, Waves
from protocols.correlations.ladder import Ladder
from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.correlations.points import PointKeys, SignPlanes
from protocols.correlations.product import Keep, Product, TruncatedProduct
from protocols.correlations.request import Request, correct, expand
from protocols.correlations.truncation import Truncation, shift_right, top_bit, wrap_dtype

__all__ = [
    "MAX_WINDOW_BITS",
    "BitMask",
    "Comparison",
    "Exponential",
    "Keep",
    "Ladder",
    "Mask",
    "MaskSource",
    "Member",
    "OneHot",
    "PointKeys",
    "Product",
    "Request",
    "Sample",
    "Selection",
    "SignPlanes",
    "TruncatedProduct",
    "Truncation",
    "Waves",
    "correct",
    "expand",
    "shift_right",
    "top_bit",
    "wrap_dtype",
]
