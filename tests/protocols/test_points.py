"""Distributed point functions: the cipher, the tree, and the comparison that is read off it."""

import hashlib

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from torch import Tensor

from protocols import points
from protocols.points import SLICE, Permutation, deal, evaluate, key_words, slice_count
from protocols.prg import Stream
from protocols.ring.kernels import Kernels
from protocols.ring.library import load_kernels
from protocols.ring.plain import PlainKernels

pytestmark = pytest.mark.timeout(120)  # the first run compiles the kernels


@pytest.fixture(params=["plain", "compiled"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """Both kinds of kernels in turn."""
    chosen = PlainKernels() if request.param == "plain" else load_kernels()
    assert type(chosen).__name__ == f"{request.param.capitalize()}Kernels"
    monkeypatch.setattr(points, "kernels", lambda x: chosen)
    return chosen


def stream(number: int = 0) -> Stream:
    """Bytes like any others, and the same in every run."""
    return Stream(bytes(16), number.to_bytes(16, "big"))


def shared(x: Tensor, r: Tensor, low: int, window: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Both parties' shares of [window of x < window of r]."""
    drawn, n = stream(seed), x.shape[0]
    seeds = (drawn.words((n, 2)), drawn.words((n, 2)))
    public = drawn.words((slice_count(n), 2))
    words = deal(seeds, r, low, window, public)
    assert words.shape == (n * key_words(window),)
    ours, theirs = (
        evaluate(seeds[rank], words, public, x, low, window, rank == 0) for rank in range(2)
    )
    return ours, theirs


def compared(x: Tensor, r: Tensor, low: int, window: int, seed: int = 0) -> Tensor:
    ours, theirs = shared(x, r, low, window, seed)
    return ours ^ theirs


def cut(x: Tensor, low: int, window: int) -> Tensor:
    return (x >> low) & ((1 << window) - 1)


# --- the cipher -----------------------------------------------------------------------------------


def permuted(key: str, blocks: str) -> str:
    words = np.frombuffer(bytes.fromhex(blocks), dtype=np.uint64).reshape(-1, 2)
    return Permutation(bytes.fromhex(key), words.size)(words).tobytes().hex()


def test_the_permutation_is_that_of_fips_197() -> None:
    # FIPS 197, appendix C.1
    key, block = "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff"
    assert permuted(key, block) == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_the_permutation_takes_each_block_by_itself() -> None:
    # SP 800-38A, F.1.1
    key = "2b7e151628aed2a6abf7158809cf4f3c"
    plain = (
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    expected = (
        "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
        "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"
    )
    assert permuted(key, plain) == expected


# --- the tree -------------------------------------------------------------------------------------

LOW_64 = 2**64 - 1


class Reference:
    """The half-tree as its paper has it, one element at a time, on Python's integers."""

    def __init__(self, key: bytes, seeds: tuple[int, int]) -> None:
        self._cipher = Cipher(AES(key), ECB()).encryptor()
        self.roots = (seeds[0] & ~1, seeds[1] | 1)

    def hashed(self, s: int) -> int:
        high, low = s >> 64, s & LOW_64
        u = (high ^ low) << 64 | high
        return int.from_bytes(self._cipher.update(u.to_bytes(16, "little")), "little") ^ u

    def words(self, alpha: int, window: int) -> list[int]:
        """Correction words of a point function on `window` bits that is one at alpha."""
        nodes, words = list(self.roots), []
        offset = nodes[0] ^ nodes[1]
        for bit in range(window - 1, 6, -1):
            a = alpha >> bit & 1
            hashes = [self.hashed(s) for s in nodes]
            words.append(hashes[0] ^ hashes[1] ^ (1 - a) * offset)
            nodes = [h ^ (s & 1) * words[-1] ^ a * s for h, s in zip(hashes, nodes, strict=True)]
            assert nodes[0] ^ nodes[1] == offset
        leaves = self.hashed(nodes[0]) ^ self.hashed(nodes[1])
        return [*words, leaves ^ 1 << (alpha & 127)]

    def value(self, party: int, words: list[int], x: int, window: int) -> int:
        """A party's share of the point function at x, walked down to the leaf."""
        s = self.roots[party]
        for word, bit in zip(words[:-1], range(window - 1, 6, -1), strict=True):
            s = self.hashed(s) ^ (s & 1) * word ^ (x >> bit & 1) * s
        return (self.hashed(s) ^ (s & 1) * words[-1]) >> (x & 127) & 1


@pytest.mark.parametrize("window", [3, 7, 8, 11, 40])
def test_correction_words_are_those_of_the_paper(window: int, by: Kernels) -> None:
    drawn = stream(1)
    seeds, public = (drawn.words((3, 2)), drawn.words((3, 2))), drawn.words((1, 2))
    alphas = [0, (1 << window) - 1, 0x5A5A5A5A5A & ((1 << window) - 1)]
    words = deal(seeds, torch.tensor(alphas), 0, window, public).view(-1, 2, 3)
    for i, alpha in enumerate(alphas):
        raw = [int.from_bytes(s[i].numpy().tobytes(), "little") for s in seeds]
        reference = Reference(public[0].numpy().tobytes(), (raw[0], raw[1]))
        expected = reference.words(alpha, window)
        got = [int.from_bytes(word.numpy().tobytes(), "little") for word in words[:, :, i]]
        assert got == expected
        for x in {0, alpha, max(alpha - 1, 0), (1 << window) - 1}:
            one = [reference.value(party, expected, x, window) for party in (0, 1)]
            assert one[0] ^ one[1] == int(x == alpha)


def test_the_bytes_of_a_key_do_not_change(by: Kernels) -> None:
    """Keys are kept on disk and made by another process than uses them."""
    drawn = stream(2)
    seeds, r, public = (
        (drawn.words((5, 2)), drawn.words((5, 2))),
        drawn.words((5,)),
        drawn.words((1, 2)),
    )
    words = deal(seeds, r, 22, 40, public)
    digest = hashlib.sha256(words.numpy().tobytes()).hexdigest()
    assert digest == "13b25ac9edb947df1e5b49dea1592410d83a81186a4d56f2a9c5aaeb247a1595"


# --- the comparison -------------------------------------------------------------------------------


@pytest.mark.parametrize("window", range(1, 11))
def test_every_pair_of_a_small_window(window: int, by: Kernels) -> None:
    values = torch.arange(1 << window)
    x, r = (grid.flatten() for grid in torch.meshgrid(values, values, indexing="ij"))
    assert torch.equal(compared(x, r, 0, window), (x < r).to(torch.uint8))


@pytest.mark.parametrize(
    ("low", "window"), [(0, 30), (17, 31), (22, 40), (0, 46), (3, 60), (0, 63)]
)
def test_wide_windows_at_their_edges(low: int, window: int, by: Kernels) -> None:
    """Bits outside the window are random and have no say."""
    top, noise = (1 << window) - 1, stream(3).words((2, 608))
    middle = cut(stream(4).words((120,)), 1, window)
    flips = middle ^ (1 << (torch.arange(120) % window))
    edges = torch.tensor([0, 0, top, top, 0, top, 1, top - 1])
    against = torch.tensor([0, top, 0, top, 1, top - 1, 0, top])
    x = torch.cat([middle, middle, middle, middle, flips, edges])
    r = torch.cat([middle, middle - 1, middle + 1, flips, middle, against]) & top
    mask = top << low
    dirty_x, dirty_r = (noise[0] & ~mask) | (x << low), (noise[1] & ~mask) | (r << low)
    assert torch.equal(compared(dirty_x, dirty_r, low, window), (x < r).to(torch.uint8))


@pytest.mark.parametrize("n", [0, 1, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE + 5])
def test_slices(n: int) -> None:
    x, r = stream(5).words((2, n))
    assert torch.equal(compared(x, r, 5, 12).bool(), cut(x, 5, 12) < cut(r, 5, 12))


def test_both_kernels_agree() -> None:
    drawn = stream(6)
    u, e, v, g, offset, words = drawn.words((6, 100, 2)).numpy().view(np.uint64)
    words = words.reshape(2, 100)
    x, sums = drawn.words((100,)).numpy().view(np.uint64), np.zeros(100, dtype=np.uint8)
    ends = []
    for trees in (load_kernels().trees, PlainKernels().trees):
        arrays = [u.copy(), e, v.copy(), g, offset, words.copy(), sums.copy()]
        a, b, c, d, o, w, s = arrays
        trees.grow(a, b, c, d, o, x, 33, w)
        trees.descend(a, b, w, x, 33, s)
        trees.read_leaf(c, d, w, x, s)
        trees.grow_leaf(a, b, c, d, x, w)
        ends.append(arrays)
    for ours, theirs in zip(*ends, strict=True):
        assert (ours == theirs).all()


# --- what a party sees ----------------------------------------------------------------------------


@pytest.mark.parametrize("r", [0, 2**39, 2**40 - 1])
def test_a_key_looks_uniform_whatever_it_hides(r: int) -> None:
    """All trees of one alpha: correction words by bytes, shares by their number of ones."""
    drawn, n = stream(7), 4096
    seeds, public = (drawn.words((n, 2)), drawn.words((n, 2))), drawn.words((1, 2))
    words = deal(seeds, torch.full((n,), r), 0, 40, public).view(34, 2, n)
    for level in words:
        counts = np.bincount(np.frombuffer(level.numpy().tobytes(), np.uint8), minlength=256)
        expected = level.numel() * 8 / 256
        assert 130 < ((counts - expected) ** 2 / expected).sum() < 430  # 255 in the mean, 22.6
    for x in (0, r, 2**40 - 1):
        share = evaluate(seeds[0], words.flatten(), public, torch.full((n,), x), 0, 40, True)
        assert abs(int(share.sum()) - n / 2) < 5 * (n / 4) ** 0.5


def test_neighbouring_secrets_have_unrelated_keys() -> None:
    """From the level on where their paths part, half of all bits differ."""
    drawn = stream(8)
    seeds, public = (drawn.words((64, 2)), drawn.words((64, 2))), drawn.words((1, 2))
    first, second = (deal(seeds, torch.full((64,), r), 0, 20, public) for r in (0, 1 << 15))
    parted = (first ^ second).view(14, 2, 64)
    assert not parted[:4].any()  # the bits 19 to 16 of both are equal
    for level in parted[5:]:
        ones = sum(bin(word & LOW_64).count("1") for word in level.flatten().tolist())
        assert abs(ones - 64 * 64) < 5 * (64 * 128 / 4) ** 0.5
