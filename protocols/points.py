"""Comparing a public number with one that only the dealer knows, by a distributed point function.

A point function is one at alpha and zero elsewhere. Its *distributed* form (Boyle, Gilboa, Ishai,
CCS 2016) is a key for each of two parties; from its key alone each evaluates, anywhere, a bit that
is pseudorandom to it, and the XOR of both bits is the function. Read as a comparison (Storrier,
Vadapalli, Lyons, Henry, Grotto, CCS 2023; as SIGMA, Gupta et al., PETS 2024, does) the shares are
summed over all places up to x, which is

    XOR over v <= x of [v = alpha]  =  [alpha <= x]

and needs no more than the one path to x: a node's share bit is the sum of its subtree, so what lies
left of the path is read off the nodes on it.

The tree is the half-tree of Guo, Yang, Wang, Zhang, Xie, Liu, Zhao (EUROCRYPT 2023). The parties'
nodes s_0, s_1 are equal off the path to alpha and differ by a fixed offset D on it, whose lowest
bit is one; the lowest bit of a node is its share bit. With a = the next bit of alpha and one public
correction word a level,

    C    = H(s_0) ^ H(s_1) ^ (1 - a) D
    left = H(s) ^ (lowest bit of s) C          right = left ^ s

The left children differ by (1 - a) D and the right ones by a D: D on the path, nothing off it. A
leaf is H of its node, 128 places at once (early termination: Boyle, Gilboa, Ishai), corrected by
C' = H(s_0) ^ H(s_1) ^ (the unit vector of alpha's last seven bits). So a window of d bits has d - 7
levels, and one cipher block for each and one for the leaf.

H is one-key AES-128, H(s) = AES(sigma(s)) ^ sigma(s), with sigma(high, low) = (high ^ low, high):
circular correlation robust where AES with a public random key is an ideal permutation (Guo, Katz,
Wang, Yu, S&P 2020). That is what the half-tree asks for: to whoever holds s_0 and not D, all
H(s_0 ^ D) ^ (bit) D look uniform, so all correction words do, and a key tells nothing of alpha. The
permutation's key is public, drawn anew for each `SLICE` elements, so that a table made for one
permutation attacks no more than SLICE keys: 2^13 of them with 2^6 blocks each leave more than 100
bits.

Levels are walked together by all elements of a slice, whose nodes stay in the cache.
"""

from collections.abc import Iterator

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from torch import Tensor

from protocols.ring.library import cuda_kernels, kernels
from protocols.ring.tree_loops import Words

__all__ = ["LEAF_BITS", "SLICE", "Permutation", "deal", "evaluate", "key_words", "slice_count"]

LEAF_BITS = 7
"""Of the window, that one 128-bit leaf covers."""

SLICE = 1 << 13
"""Elements whose trees are walked together, under one permutation."""

_BLOCK = 16


def key_words(window: int) -> int:
    """Correction words of one element for `window` bits, as int64 words."""
    return 2 * (_levels(window) + 1)


def slice_count(elements: int) -> int:
    """How many permutations so many elements take."""
    return -(-elements // SLICE)


class Permutation:
    """AES-128 under a public key, one block by one; with room for the result.

    Args:
        key: 16 bytes.
        words: how many are permuted at once.
    """

    def __init__(self, key: bytes, words: int) -> None:
        self._encryptor = Cipher(AES(key), ECB()).encryptor()
        # update_into asks for room of one block less a byte behind what it writes.
        self._buffer = np.empty(8 * words + _BLOCK, dtype=np.uint8)

    def __call__(self, blocks: Words) -> Words:
        """The blocks enciphered; in the same place each time."""
        source = blocks.reshape(-1).view(np.uint8).data
        size = self._encryptor.update_into(source, self._buffer.data)
        return self._buffer[:size].view(np.uint64).reshape(blocks.shape)


def deal(seeds: tuple[Tensor, Tensor], r: Tensor, low: int, window: int, public: Tensor) -> Tensor:
    """The correction words of point functions that are one at the windows of r.

    Args:
        seeds: uniform, (m, 2) of each party.
        r: ring elements, (m,).
        low: where the window begins.
        window: its bits.
        public: keys of the permutations, (slices, 2).

    Returns:
        (m * key_words,), slice by slice, in each level by level, in each all lower words first.
    """
    if r.device.type != "cpu":
        there = cuda_kernels(r.device).point_keys(seeds, r, low, window, public)
        if there is not None:
            return there
        operands = (seeds[0].cpu(), seeds[1].cpu()), r.cpu(), low, window, public.cpu()
        return deal(*operands).to(r.device)
    trees, levels = kernels(r).trees, _levels(window)
    out = np.empty(r.shape[0] * key_words(window), dtype=np.uint64)
    first, second = _roots(seeds[0], 0), _roots(seeds[1], 1)
    for begin, end, permutation, words in _slices(out, r.shape[0], levels, public):
        alpha = _window(r[begin:end], low, window)
        offset = first[begin:end] ^ second[begin:end]
        nodes = np.stack([_sigma(first[begin:end]), _sigma(second[begin:end])])
        for level in range(levels):
            e = permutation(nodes)
            bit = window - 1 - level
            trees.grow(nodes[0], e[0], nodes[1], e[1], offset, alpha, bit, words[level])
        e = permutation(nodes)
        trees.grow_leaf(nodes[0], e[0], nodes[1], e[1], alpha, words[levels])
    return torch.from_numpy(out.view(np.int64))


def evaluate(
    seeds: Tensor, words: Tensor, public: Tensor, x: Tensor, low: int, window: int, first: bool
) -> Tensor:
    """This party's share of [window of x < window of r], (m,) zeros and ones.

    Args:
        seeds: this party's own, (m, 2).
        words: as `deal` gives them.
        public: keys of the permutations, (slices, 2).
        x: public ring elements, (m,).
        low: where the window begins.
        window: its bits.
        first: which of the two parties this is.
    """
    if x.device.type != "cpu":
        kernels_there = cuda_kernels(x.device)
        there = kernels_there.point_sums(seeds, words, public, x, low, window, first)
        if there is not None:
            return there
        operands = seeds.cpu(), words.cpu(), public.cpu(), x.cpu(), low, window, first
        return evaluate(*operands).to(x.device)
    trees, levels = kernels(x).trees, _levels(window)
    sums = np.full(x.shape[0], int(first), dtype=np.uint8)  # not [r <= x]
    roots, whole = _roots(seeds, 0 if first else 1), words.numpy().view(np.uint64)
    for begin, end, permutation, corrections in _slices(whole, x.shape[0], levels, public):
        places = _window(x[begin:end], low, window)
        nodes, part = _sigma(roots[begin:end]), sums[begin:end]
        for level in range(levels):
            e, bit = permutation(nodes), window - 1 - level
            trees.descend(nodes, e, corrections[level], places, bit, part)
        trees.read_leaf(nodes, permutation(nodes), corrections[levels], places, part)
    return torch.from_numpy(sums)


def _levels(window: int) -> int:
    return max(window - LEAF_BITS, 0)


def _slices(
    words: Words, elements: int, levels: int, public: Tensor
) -> Iterator[tuple[int, int, Permutation, Words]]:
    """Begin and end of each slice, its permutation, its words as (levels + 1, 2, size)."""
    per_element = 2 * (levels + 1)
    keys = public.contiguous().numpy()
    for number, begin in enumerate(range(0, elements, SLICE)):
        end = min(elements, begin + SLICE)
        part = words[begin * per_element : end * per_element].reshape(levels + 1, 2, end - begin)
        yield begin, end, Permutation(keys[number].tobytes(), 4 * (end - begin)), part


def _roots(seeds: Tensor, bit: int) -> Words:
    """Nodes of uniform words: the lowest bit says whose they are, so that all offsets have it."""
    roots: Words = seeds.numpy().view(np.uint64).copy()
    roots[:, 0] = (roots[:, 0] & ~np.uint64(1)) | np.uint64(bit)
    return roots


def _sigma(nodes: Words) -> Words:
    return np.stack([nodes[:, 1], nodes[:, 0] ^ nodes[:, 1]], axis=1)


def _window(x: Tensor, low: int, window: int) -> Words:
    whole: Words = x.contiguous().numpy().view(np.uint64)
    return (whole >> np.uint64(low)) & np.uint64((1 << window) - 1)
