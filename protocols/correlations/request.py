"""All kinds of requests, and how their answers are dealt in shares."""

from typing import TypeAlias

import msgspec
from torch import Tensor

from protocols.correlations.comparison import Comparison, Selection
from protocols.correlations.elementary import Exponential, OneHot, Sample, Waves
from protocols.correlations.ladder import Ladder
from protocols.correlations.names import MaskSource
from protocols.correlations.points import PointKeys, SignPlanes
from protocols.correlations.product import Keep, Product, TruncatedProduct
from protocols.correlations.truncation import Truncation
from protocols.label import Label
from protocols.prg import Key, Stream

__all__ = ["Request", "correct", "expand"]

Request: TypeAlias = (
    Product
    | TruncatedProduct
    | Truncation
    | Comparison
    | PointKeys
    | SignPlanes
    | Ladder
    | Selection
    | OneHot
    | Exponential
    | Waves
    | Sample
    | Keep
)


def expand(request: Request, key: Key) -> list[Tensor]:
    """The shares of `request` that belong to a party with this key (any party but the last).

    Raises:
        ValueError: the answer is public; the last party has it and hands it on.
    """
    if any(member.public for member in request.members()):
        raise ValueError(f"{request.label} is not dealt in shares")
    stream = _stream(request, key)
    return [stream.words(member.shape, member.dtype) for member in request.members()]


def correct(request: Request, masks: MaskSource, keys: list[Key], own: Key) -> list[Tensor]:
    """The last party's shares: each value minus what the other parties expand from `keys`.

    As they travel: see `Member.size_bytes`. A public value is left as it is.

    Args:
        masks: the dealer's view of masks.
        keys: keys of all parties but the last.
        own: the dealer's own key, for the randomness that no party may know.
    """
    streams = [_stream(request, key) for key in keys]
    corrections = []
    values = request.values(masks, _stream(request, own))
    for member, made in zip(request.members(), values, strict=True):
        value = made.to(own.place)
        for stream in () if member.public else streams:
            if member.binary:
                value = stream.hidden(value)
            else:
                value = stream.added(value, sign=-1)
        corrections.append(value if member.ring is None else member.ring.sent(value))
    return corrections


def _stream(request: Request, key: Key) -> Stream:
    # The whole request enters the name: two different requests never share a stream, even if a
    # faulty party asks for both under one label.
    return key.stream(Label(msgspec.json.encode(request).decode()), "deal")
