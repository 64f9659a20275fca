"""The clear suite of `mpcnet.debug`'s first pass: it takes down ranges, operator by operator."""

from protocols.clear.recording import RecordingSuite
from protocols.party import Party
from protocols.ring.ring import RING, Ring

__all__ = ["RangeSuite"]


class RangeSuite(RecordingSuite):
    """As its base, for parties in one process.

    Attributes:
        entry: the number of the operator that runs now; the place of sightings.
    """

    def __init__(self, party: Party, scale_bits: int | None = None, ring: Ring = RING) -> None:
        super().__init__(party, scale_bits, ring, lambda: str(self.entry))
        self.entry = 0
