"""No protection at all: the oracle that the other suites are tested against."""

from protocols.clear.suite import ClearSuite

__all__ = ["ClearSuite"]
