"""What the parties find out together: sums, smallest and largest numbers, and numbers by rank.

Each takes what every party worked out alone, opens the joint result and nothing else, and waits for
the one before it. All are elementwise, for as many results at once as are wanted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import mpcnet
from apps.analytics.errors import QueryError
from apps.analytics.exact import MODULI, VALUE_BITS, Whole, from_residues, residues
from mpcnet.session import Session

__all__ = ["Joint", "Rank", "as_quantile"]

_DIGIT_BITS: Final = 5
"""Of a number that is sought: more take fewer rounds and more comparisons in each."""

_HIGHEST: Final = 1 << VALUE_BITS
_RING_BITS: Final = 64
_MOST_PARTIES: Final = 16
"""So many residues below 2^55 come to less than 2^60, beyond which nothing is compared."""

_RANK_BITS: Final = 20
"""Of numerator and denominator of a quantile; counts take 39 more."""


class Rank:
    """Which number is meant among N in their order.

    The one with `above` others below it, where `above` is `(N - 1) quantile` rounded down, or with
    `up` rounded up.
    """

    def __init__(self, quantile: Fraction, up: bool = False) -> None:
        self.quantile = quantile
        self.up = up

    def excess(self, below: Whole, rows: int) -> Whole:
        """A party's part of what tells whether that number is among the counted ones.

        With C numbers counted of N, and a / b the quantile: C > (N - 1) a / b, so that
        `b C - a N > -a`; and rounded up `C - 1 >= (N - 1) a / b`, so that `b C - a N >= b - a`.
        Both sides whole: the sum of all parties' excess is at least `least`.
        """
        return self.quantile.denominator * below - self.quantile.numerator * rows

    @property
    def least(self) -> int:
        """See `excess`."""
        a, b = self.quantile.numerator, self.quantile.denominator
        return b - a if self.up else 1 - a


class Joint:
    """The parties together.

    Security: semi-honest, any parties but one, and the dealer apart from them, as all protocols of
    the session. What a method opens is the result that it states, or follows from that result.

    Args:
        session: theirs.
        readers: ranks of the parties that learn sums and extremes; None means all.
        min_rows: a result of fewer rows stays hidden.
        min_parties: so does one to which fewer parties contribute.
    """

    def __init__(
        self,
        session: Session,
        readers: Sequence[int | str] | None = None,
        min_rows: int = 5,
        min_parties: int = 2,
    ) -> None:
        if session.suite.ring.bits != _RING_BITS:
            raise QueryError("analytics needs the ring of 64 bits: leave out ring_bits = 48")
        if len(session.names) > _MOST_PARTIES:
            raise QueryError(f"analytics is for {_MOST_PARTIES} parties at most")
        if not 1 <= min_parties <= len(session.names) or min_rows < 1:
            raise QueryError("min_rows is at least 1, min_parties 1 to the number of parties")
        self.session = session
        self.readers = None if readers is None else [session.rank_of(party) for party in readers]
        self.min_rows = min_rows
        self.min_parties = min_parties

    @property
    def reads(self) -> bool:
        """Whether this party learns what is told to readers."""
        return self.readers is None or self.session.rank in self.readers

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Within it something is revealed on which what comes later depends, so rounds add up."""
        session = self.session
        before, session.rounds = session.rounds, 0
        try:
            yield
        finally:
            session.rounds += before

    def shared(self, mine: Whole) -> list[Tensor]:
        """A secret of each party; all have the same shape."""
        value, me = torch.from_numpy(np.ascontiguousarray(mine)), self.session.rank
        return [
            self.session.share(
                value if owner == me else None, owner=owner, shape=mine.shape, dtype=torch.int64
            )
            for owner in range(len(self.session.names))
        ]

    async def enough(self, rows: Whole, least: int = 0) -> NDArray[np.bool_]:
        """Where enough rows of enough parties come together; all parties learn it, and no number.

        Args:
            rows: this party's counts, elementwise.
            least: rows that the statistic itself needs, if that is more.

        Cost:     5 rounds and 2 comparisons each; 4 rounds and one where min_parties is 1
        Reveals:  what it returns, to all
        """
        if rows.size == 0:
            return np.zeros(rows.shape, dtype=bool)
        with self.stage():
            counts = _sum(self.shared(rows.astype(np.int64)))
            there = _sum(self.shared((rows > 0).astype(np.int64)))
            wanted = (counts >= max(self.min_rows, least)).long()
            if self.min_parties > 1:
                wanted = wanted * (there >= self.min_parties).long()
            revealed = await mpcnet.reveal(wanted)
        found: NDArray[np.bool_] = revealed.numpy().astype(bool)
        return found

    async def counts(self, mine: Whole) -> Whole | None:
        """Sums of counts, each below 2^58. Cost: 1 round."""
        if mine.size == 0:
            return mine if self.reads else None
        with self.stage():
            revealed = await mpcnet.reveal(_sum(self.shared(mine)), self.readers)
        return revealed.numpy() if self.reads else None

    async def sums(self, mine: NDArray[np.object_], moduli: int) -> NDArray[np.object_] | None:
        """Exact sums of long whole numbers.

        Each party gives the residues of its numbers modulo two or three numbers near 2^55. Their
        sum passes the modulus at most n - 1 times; how often, secret comparisons find, and it is
        taken off. So what is opened are residues of the joint sum: nothing of how it came about.

        Args:
            moduli: how many: with 2 sums stay below 2^109, with 3 below 2^164.

        Cost:     4 rounds, (n - 1) moduli comparisons each
        Reveals:  the sums, to readers
        """
        n = len(self.session.names)
        if mine.size == 0:
            return mine if self.reads else None
        with self.stage():
            parts = _sum(self.shared(residues(mine, moduli, n)))
            size = torch.tensor(MODULI[:moduli]).view(-1, *[1] * mine.ndim)
            passed = _sum([(parts >= k * size).long() for k in range(1, n)])
            revealed = await mpcnet.reveal(parts - passed * size, self.readers)
        return from_residues(list(revealed.numpy())) if self.reads else None

    async def smallest(self, mine: Whole) -> Whole | None:
        """The smallest that a party has, elementwise. Cost: 3 rounds per doubling of n, and 1."""
        with self.stage():
            found = torch.stack(self.shared(mine)).amin(0)
            revealed = await mpcnet.reveal(found, self.readers)
        return revealed.numpy() if self.reads else None

    async def ranked(
        self, columns: Sequence[Whole], ranks: Sequence[Rank], lost_bits: int = 0
    ) -> NDArray[np.object_]:
        """The number of each rank in each column, by search for its digits to base 32.

        In each step every party counts its numbers up to 31 thresholds, alone. A secret comparison
        for each threshold tells whether the number that is sought is among those of all parties,
        and how many are not is opened: the next digit of the result. So the thresholds, which
        everybody sees, follow from the result, and tell nothing else.

        Args:
            columns: this party's numbers, sorted.
            lost_bits: digits that are not sought; what is found is the middle of what they leave.

        Returns:
            (columns, ranks), at all parties: who counts has to know the thresholds.

        Cost:     4 rounds and 31 comparisons for each digit, of which there are 12
        Reveals:  the numbers, to all
        """
        low = np.full((len(columns), len(ranks)), -_HIGHEST, dtype=object)
        width = VALUE_BITS + 1
        while width > lost_bits and low.size:
            bits = min(_DIGIT_BITS, width - lost_bits)
            width -= bits
            steps = [(k << width) - 1 for k in range(1, 1 << bits)]
            low += (await self._digit(columns, ranks, low, steps)).astype(object) << width
        return low + ((1 << width) >> 1)

    async def quotients(self, sums: NDArray[np.object_], counts: Whole) -> NDArray[np.object_]:
        """Joint sums divided by joint counts, rounded down, and neither of both.

        Sought digit by digit like numbers by rank: the quotient is t or more where the sum less t
        times the count is not negative, and each party knows its part of that difference.

        Args:
            sums: this party's, below 2^99.
            counts: this party's, of which the joint one is not zero.

        Returns:
            Below 2^59, at all parties.

        Cost:     7 rounds and 31 n comparisons for each digit, of which there are 12
        Reveals:  the quotients, to all
        """
        low = np.full(sums.shape, -_HIGHEST, dtype=object)
        width = VALUE_BITS + 1
        while width and low.size:
            bits = min(_DIGIT_BITS, width)
            width -= bits
            steps = [k << width for k in range(1, 1 << bits)]
            rest = np.stack([sums - (low + step) * counts.astype(object) for step in steps])
            low += (await self._not_negative(rest)).astype(object) << width
        return low

    async def _not_negative(self, mine: NDArray[np.object_]) -> Whole:
        """How many, along the first dimension, of the joint sums of long numbers are not negative.

        They are cut in two. What the lower parts carry over, comparisons find; with that the sign
        is that of the upper part.
        """
        cut = MODULI[0]
        low = np.vectorize(lambda v: int(v) % cut, otypes=[np.int64])(mine)
        high = np.vectorize(lambda v: int(v) // cut, otypes=[np.int64])(mine)
        n = len(self.session.names)
        with self.stage():
            lows, highs = _sum(self.shared(low)), _sum(self.shared(high))
            carried = _sum([(lows >= k * cut).long() for k in range(1, n)])
            revealed = await mpcnet.reveal((highs + carried >= 0).long().sum(0))
        found: Whole = revealed.numpy()
        return found

    async def _digit(
        self,
        columns: Sequence[Whole],
        ranks: Sequence[Rank],
        low: NDArray[np.object_],
        steps: Sequence[int],
    ) -> Whole:
        """How many thresholds, (columns, ranks), lie below the number that is sought."""
        excess = np.empty((len(steps), *low.shape), dtype=np.int64)
        for c, column in enumerate(columns):
            for r, rank in enumerate(ranks):
                thresholds = np.array([low[c, r] + step for step in steps], dtype=np.int64)
                below = np.searchsorted(column, thresholds, side="right")
                excess[:, c, r] = rank.excess(below, len(column))
        least = torch.tensor([rank.least for rank in ranks])
        with self.stage():
            short = (_sum(self.shared(excess)) < least).long().sum(0)
            revealed = await mpcnet.reveal(short)
        found: Whole = revealed.numpy()
        return found


def as_quantile(value: float) -> Fraction:
    """A quantile as the fraction that was meant: 0.1 is a tenth.

    Raises:
        QueryError: it is none.
    """
    if not 0 <= value <= 1:
        raise QueryError(f"a quantile lies between 0 and 1, not at {value}")
    found = Fraction(str(value)).limit_denominator(1 << _RANK_BITS)
    if found in (0, 1) and found != value:
        raise QueryError(f"the quantile {value} is nearer to an end than 2^-{_RANK_BITS + 1}")
    return found


def _sum(parts: Sequence[Tensor]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
