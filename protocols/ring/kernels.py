"""Arithmetic on one party's shares: products, and the steps of comparison and truncation."""

from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["NARROW", "Kernels"]

NARROW = 64
"""Rows or columns up to which torch's product of matrices is slower than compiled sums."""


class Kernels(ABC):
    """Arithmetic on int64 tensors.

    All implementations agree in every bit: torch's own operators, compiled loops on the CPU, and
    those for CUDA. Shapes:
    N elements, W = ceil(N / 64) words of a plane of packed bits, m chunks of a window.
    """

    @abstractmethod
    def products(self, x: Tensor, y: Tensor) -> Tensor:
        """x[b] @ y[b] modulo 2^64; (B, M, K), (B, K, N) -> (B, M, N)."""

    @abstractmethod
    def order(
        self, shares: Tensor, x: Tensor, position: int, bits: int, first: bool
    ) -> tuple[Tensor, Tensor]:
        """Shares of [c < rho] and [c = rho], c the chunk of x that begins at `position`.

        Args:
            shares: of thermometers of rho, (N,) int32 or int64.
            x: (N,).
            bits: length of the chunk.
            first: whether this party is the one that adds public constants.

        Returns:
            Two planes (W,).
        """

    @abstractmethod
    def plane(self, x: Tensor, position: int) -> Tensor:
        """Bit `position` of each element, packed; (N,) -> (W,)."""

    @abstractmethod
    def thermometer(self, r: Tensor, position: int, bits: int) -> Tensor:
        """(1 << c) - 1 for the chunks c of r; (N,) -> (N,) int64, or int32 below 6 bits."""

    @abstractmethod
    def mask_products(self, lam: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
        """See `protocols.chunks.mask_products`."""

    @abstractmethod
    def combine(
        self, less: Tensor, equal: Tensor, mixed: Tensor, pure: Tensor, first: bool
    ) -> Tensor:
        """See `protocols.chunks.combine`."""

    @abstractmethod
    def deal_truncation(self, r: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """r >> bits (logical), and the top bit of r as int32; (...) -> (...)."""

    @abstractmethod
    def deal_selection(self, r: Tensor, plane: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
        """beta, beta (r >> bits), and beta times the top bit of r as int32.

        Shapes: r (...), plane of beta (W,) -> (...) each
        """

    @abstractmethod
    def truncated(self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool) -> Tensor:
        """e A - [rho] + c 2^(64-bits) [wrap]; (...) -> (...). See `protocols.additive.truncation`.

        Args:
            wrap: int32 if bits <= 32, else int64.
        """

    @abstractmethod
    def select(
        self, flips: Tensor, x_hat: Tensor, y: Tensor, material: list[Tensor], bits: int
    ) -> Tensor:
        """[beta y] where `flips` is 0, [y] - [beta y] where it is 1; (...) -> (...).

        Args:
            flips: zeros and ones, uint8; broadcasts with the others.
            x_hat: the wire; y is its truncation by `bits`, or with 0 what it opens.
            y: a share.
            material: shares of beta and beta r, or beta, beta rho and beta wrap.
        """
