"""The precision guard: a program on secrets beside its twin in the clear, operator by operator."""

from mpcnet.precision.debugging import debug
from mpcnet.precision.report import Operation, Precision

__all__ = ["Operation", "Precision", "debug"]
