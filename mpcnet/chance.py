"""Random numbers that no party knows, as part of a session."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch

from mpcnet.dtypes import check_dtype
from mpcnet.tensor import SecretTensor
from protocols.functions import sampling
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["Chance"]


class Chance(ABC):
    """What draws them: the dealer, without a round or a message."""

    suite: Suite

    @abstractmethod
    def wrap(self, sharing: Sharing, dtype: torch.dtype = torch.float32) -> SecretTensor:
        """The tensor around a sharing."""

    @abstractmethod
    def step(self, name: str, *facts: object) -> AbstractContextManager[None]:
        """A step of the program, which all parties take alike."""

    def rand(self, *shape: int) -> SecretTensor:
        """Uniform in [0, 1)."""
        with self.step("rand", torch.Size(shape)):
            return self.wrap(sampling.uniform(self.suite, shape))

    def randn(self, *shape: int) -> SecretTensor:
        """Standard normal."""
        with self.step("randn", torch.Size(shape)):
            return self.wrap(sampling.normal(self.suite, shape))

    def bernoulli(self, odds: float, shape: Sequence[int]) -> SecretTensor:
        """True with these odds."""
        with self.step("bernoulli", odds, torch.Size(shape)):
            return self.wrap(sampling.bernoulli(self.suite, tuple(shape), odds), torch.bool)

    def randint(
        self, low: int, high: int, shape: Sequence[int], dtype: torch.dtype = torch.int64
    ) -> SecretTensor:
        """Integers from low to high - 1, of which there are 2^32 at most."""
        check_dtype(dtype)
        with self.step("randint", low, high, torch.Size(shape), dtype):
            return self.wrap(sampling.whole(self.suite, tuple(shape), low, high), dtype)

    def randperm(self, n: int) -> SecretTensor:
        """0 to n - 1 in an order that nobody knows."""
        with self.step("randperm", n):
            return self.wrap(sampling.permutation(self.suite, (n,)), torch.int64)
