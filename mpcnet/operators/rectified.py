"""What the forward pass knows already when the backward pass comes."""

from dataclasses import dataclass

from protocols.shares import Bits, Sharing
from protocols.suite import Suite

__all__ = ["Rectified"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rectified:
    """The value that a relu compared with zero; the outcome is kept with it."""

    source: Sharing

    def passing(self, suite: Suite) -> Bits | None:
        """[x >= 0] as the forward pass found it; None if one party knows x, who compared alone."""
        x = self.source
        if x.owner is not None:
            return None
        return ~suite.below(suite.rescale(x) if x.scale_bits < suite.scale_bits else x)
