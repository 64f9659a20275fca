"""The passes of `protocols.ring.tree_loops`, and their twin in numpy's operators."""

from abc import ABC, abstractmethod

import numpy as np

from protocols.ring.tree_loops import Bytes, Words

__all__ = ["PlainTrees", "Trees"]

ONE = np.uint64(1)
LOW_SIX = np.uint64(63)


class Trees(ABC):
    """Levels of distributed point functions; arguments as in `protocols.ring.tree_loops`.

    Two implementations agree in every bit. All write into what they are given.
    """

    @abstractmethod
    def grow(
        self,
        u: Words,
        e: Words,
        v: Words,
        g: Words,
        offset: Words,
        alpha: Words,
        bit: int,
        out: Words,
    ) -> None:
        """One level of the dealer's."""

    @abstractmethod
    def grow_leaf(self, u: Words, e: Words, v: Words, g: Words, alpha: Words, out: Words) -> None:
        """The last level of the dealer's."""

    @abstractmethod
    def descend(self, u: Words, e: Words, words: Words, x: Words, bit: int, sums: Bytes) -> None:
        """One level of a party's."""

    @abstractmethod
    def read_leaf(self, u: Words, e: Words, words: Words, x: Words, sums: Bytes) -> None:
        """The last level of a party's."""


class PlainTrees(Trees):
    """One pass over memory for each operator."""

    def grow(
        self,
        u: Words,
        e: Words,
        v: Words,
        g: Words,
        offset: Words,
        alpha: Words,
        bit: int,
        out: Words,
    ) -> None:
        right = _mask(alpha >> np.uint64(bit))
        hashed = e ^ u
        out[:] = (hashed ^ g ^ v ^ (offset & ~right)).T
        node = _node(u)
        node = hashed ^ (node & right) ^ (out.T & _mask(node[:, 0]))
        u[:] = _sigma(node)
        v[:] = _sigma(node ^ offset)

    def grow_leaf(self, u: Words, e: Words, v: Words, g: Words, alpha: Words, out: Words) -> None:
        unit = np.repeat((ONE << (alpha & LOW_SIX))[:, None], 2, axis=1)
        upper = _mask(alpha >> np.uint64(6))
        unit[:, :1] &= ~upper
        unit[:, 1:] &= upper
        out[:] = (e ^ u ^ g ^ v ^ unit).T

    def descend(self, u: Words, e: Words, words: Words, x: Words, bit: int, sums: Bytes) -> None:
        node = _node(u)
        turns = (x ^ (x >> ONE)) >> np.uint64(bit)
        sums ^= (turns & node[:, 0] & ONE).astype(np.uint8)
        right = _mask(x >> np.uint64(bit))
        u[:] = _sigma(e ^ u ^ (node & right) ^ (words.T & _mask(node[:, 0])))

    def read_leaf(self, u: Words, e: Words, words: Words, x: Words, sums: Bytes) -> None:
        node = _node(u)
        leaf = e ^ u ^ (words.T & _mask(node[:, 0]))
        upper = _mask(x >> np.uint64(6))[:, 0]
        upto = (np.uint64(2) << (x & LOW_SIX)) - ONE
        folded = (leaf[:, 0] & (upto | upper)) ^ (leaf[:, 1] & upto & upper)
        for half in (32, 16, 8, 4, 2, 1):
            folded ^= folded >> np.uint64(half)
        sums ^= ((folded ^ (node[:, 0] & (x >> np.uint64(7)))) & ONE).astype(np.uint8)


def _mask(bits: Words) -> Words:
    """All ones where the lowest bit is one, else zero; (m,) -> (m, 1)."""
    return (np.uint64(0) - (bits & ONE))[:, None]


def _node(u: Words) -> Words:
    """The node of which u is sigma."""
    return np.stack([u[:, 0] ^ u[:, 1], u[:, 0]], axis=1)


def _sigma(node: Words) -> Words:
    """(high, low) -> (high ^ low, high), the lower word first in memory."""
    return np.stack([node[:, 1], node[:, 0] ^ node[:, 1]], axis=1)
