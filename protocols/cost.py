"""What a protocol costs, as declared beside it and as counted."""

from dataclasses import dataclass

__all__ = ["Cost"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of one protocol run, payload only (frame headers and padding are not in it).

    Attributes:
        rounds: online messages on the longest chain.
        bits: sent online by one party to each of its peers (the busiest pair, where they differ).
        offline_bits: corrections that the last party receives from the dealer.
    """

    rounds: int
    bits: int
    offline_bits: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        """The cost of doing one after the other."""
        return Cost(
            self.rounds + other.rounds,
            self.bits + other.bits,
            self.offline_bits + other.offline_bits,
        )
