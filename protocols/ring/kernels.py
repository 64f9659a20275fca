"""Arithmetic on one party's shares: products, and the steps of comparison and truncation."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from protocols.ring.trees import Trees

__all__ = ["NARROW", "Kernels"]

NARROW = 64
"""Rows or columns up to which torch's product of matrices is slower than compiled sums."""


class Kernels(ABC):
    """Arithmetic on int64 tensors.

    All implementations agree in every bit of the ring: torch's own operators, compiled loops on the
    CPU, and those for CUDA.
    Shapes: N elements, W = ceil(N / 64) words of a plane of packed bits, m chunks of a window.

    Attributes:
        trees: the passes of distributed point functions.
    """

    trees: Trees

    @abstractmethod
    def products(self, x: Tensor, y: Tensor) -> Tensor:
        """x[b] @ y[b] modulo 2^64; (B, M, K), (B, K, N) -> (B, M, N)."""

    def fixed(self, matrix: Tensor) -> object:
        """What makes products with this (M, K) matrix faster for as long as somebody holds it.

        The matrix must not change. `products` takes it by itself when it meets the matrix again,
        as x or transposed as y. None where nothing can be gained.
        """
        return None

    @abstractmethod
    def encoded(self, x: Tensor, factor: float, most: float) -> tuple[Tensor, int]:
        """x times `factor`, rounded, as int64; and how many are no numbers or not below `most`.

        Where any are, the tensor is of no use.
        """

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
    def orders(
        self,
        shares: Tensor,
        x: Tensor,
        numbers: Sequence[int],
        position: int,
        bits: int,
        first: bool,
    ) -> tuple[Tensor, Tensor]:
        """As `order`, of x - t for each of `numbers`, one behind the other: two (S * W,)."""

    @abstractmethod
    def planes(self, x: Tensor, numbers: Sequence[int], position: int) -> Tensor:
        """As `plane`, of x - t for each of `numbers`; (N,) -> (S, W)."""

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
    def deal_truncation(self, r: Tensor, bits: int, spare: int = 0) -> tuple[Tensor, Tensor]:
        """r >> bits (logical), and the top bit of r as int32; (...) -> (...).

        Args:
            spare: bits of a word above an element, here and below; what they hold does not count.
        """

    @abstractmethod
    def deal_selection(
        self, r: Tensor, plane: Tensor, bits: int, spare: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """beta, beta (r >> bits), and beta times the top bit of r as int32.

        Shapes: r (...), plane of beta (W,) -> (...) each
        """

    @abstractmethod
    def indicator(self, flips: Tensor, beta: Tensor, first: bool) -> Tensor:
        """A share of b from b ^ beta and a share of beta: beta, or [first] - beta where it is 1.

        Shapes: flips uint8, beta (...) -> (...)
        """

    @abstractmethod
    def weighed(self, flips: Tensor, beta: Tensor, weights: Tensor, first: bool) -> Tensor:
        """Sums over K of weights (R, K) times what `indicator` gives of (K, ...); (R, ...)."""

    @abstractmethod
    def waves(
        self, x: Tensor, turn: int, factors: Sequence[tuple[float, float]], dealt: Tensor
    ) -> Tensor:
        """Sums over k of c_k dealt[k - 1, 0] + s_k dealt[k - 1, 1]; (N,), (K, 2, N) -> (N,).

        c_k = a_k cos(k w x) + b_k sin(k w x) and s_k = a_k sin(k w x) - b_k cos(k w x), rounded,
        as `protocols.powers` computes them, with w = 2 pi turn / 2^64.

        Args:
            factors: a_k and b_k for k = 1 to K.
        """

    @abstractmethod
    def deal_waves(self, r: Tensor, turn: int, count: int, scale: float) -> Tensor:
        """cos(k w r) and sin(k w r) times `scale`, rounded; (N,) -> (count, 2, N)."""

    @abstractmethod
    def truncated(
        self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool, spare: int = 0
    ) -> Tensor:
        """e A - [rho] + c 2^(64-spare-bits) [wrap]; (...) -> (...).

        See `protocols.additive.truncation`.

        Args:
            rho: spent; the result may be in its place.
            wrap: int32 if bits <= 32, else int64.
        """

    @abstractmethod
    def select(
        self,
        flips: Tensor,
        x_hat: Tensor,
        y: Tensor,
        material: list[Tensor],
        bits: int,
        spare: int = 0,
    ) -> Tensor:
        """[beta y] where `flips` is 0, [y] - [beta y] where it is 1; (...) -> (...).

        Args:
            flips: zeros and ones, uint8; broadcasts with the others.
            x_hat: the wire; y is its truncation by `bits`, or with 0 what it opens.
            y: a share.
            material: shares of beta and beta r, or beta, beta rho and beta wrap; the second is
                spent: the result may be in its place.
        """

    @abstractmethod
    def narrow(self, x: Tensor) -> Tensor:
        """The lower 48 bits of each element, little-endian; (...) of N -> (6 N,) uint8."""

    @abstractmethod
    def widen(self, data: Tensor) -> Tensor:
        """The elements of `narrow`, zero above 48 bits; (6 N,) uint8 -> (N,) int64."""

    @abstractmethod
    def add_narrow(self, x: Tensor, data: Tensor) -> Tensor:
        """(x + widen(data)) modulo 2^48, not negative; (...) of N, (6 N,) -> (...)."""
