"""Additive sharing over Z_2^64, or Z_2^48, between n >= 2 parties, with a dealer.

Adversary: semi-honest, any n - 1 computing parties, none of them together with the dealer. The
dealer talks to nobody online and sees no input, no weight and no opened value.
"""

from protocols.additive.suite import AdditiveSuite

__all__ = ["AdditiveSuite"]
