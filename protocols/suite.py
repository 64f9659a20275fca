"""What a suite of protocols offers, and the part of it that is the same for all suites.

Every method returns at once: it checks shapes, names the operator by its place in the program,
starts the protocol as a task and hands back a `Sharing` whose share will come. Independent
operators therefore run concurrently, and all parties must call the same methods in one order.

Scales: a sharing has f fractional bits, or 2f while a product waits for its truncation. The
truncation is put off until something needs it, because a comparison does it on the side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from protocols.device import beside
from protocols.errors import ShapeError, ThresholdError
from protocols.fixedpoint import encode
from protocols.inputs import Inputs, Real
from protocols.lattice import dimension
from protocols.owned import rungs
from protocols.party import Operator
from protocols.ring.bilinear import Bilinear, Multiply, Shape, broadcast_shape
from protocols.scales import lifted, rounded
from protocols.shares import Bits, Share, Sharing

__all__ = ["Real", "Suite"]


WAVE_BITS = 24
"""Further fractional bits that a sum of waves needs, for the errors that functions state."""


class Suite(Inputs):
    """The operations on secrets, at one party; see `protocols.inputs` for what it is made of."""

    needs_dealer: bool

    # --- local operations ---------------------------------------------------------------------

    def linear(
        self,
        name: str,
        kernel: Callable[..., Tensor],
        *xs: Sharing,
        shape: Shape,
        added_bits: int = 0,
    ) -> Sharing:
        """A linear function of int64 tensors, done on each share: reshape, sum, cat, …

        Where scales differ, values at f are lifted to 2f first. The result has an owner only if
        all operands have that same owner. (For an owned value any local function is linear enough:
        one party computes it, and the function of zeros must be zero.)

        Args:
            added_bits: what the function adds to the scale.
        """
        ranged = [self._in_range(x) for x in xs]
        return self._apply(name, kernel, *ranged, shape=shape, added_bits=added_bits)

    def _apply(
        self,
        name: str,
        kernel: Callable[..., Tensor],
        *xs: Sharing,
        shape: Shape,
        added_bits: int = 0,
    ) -> Sharing:
        """`linear`, on whatever scales there are."""
        scale = max(x.scale_bits for x in xs)
        owners = {x.owner for x in xs}
        lifts = [scale - x.scale_bits for x in xs]
        share = self.issue(name, self._linear, kernel, xs, lifts)
        owner = owners.pop() if len(owners) == 1 else None
        ahead = all(x.ahead for x in xs)
        fine = all(x.fine for x in xs) and scale + added_bits > self.scale_bits
        return Sharing(shape, scale + added_bits, share, owner, ahead, fine=fine)

    async def _linear(
        self, op: Operator, kernel: Callable[..., Tensor], xs: Sequence[Sharing], lifts: list[int]
    ) -> Share:
        shares = [await op.read(x.share) for x in xs]
        work = sum(s.value.numel() for s in shares)
        value = await op.run(work, lambda: kernel(*map(lifted, shares, lifts)))
        return Share(value, op.depth, all(s.offline for s in shares))

    def add_public(self, x: Sharing, value: Tensor, *, shape: Shape) -> Sharing:
        """x + a public real tensor, broadcast to `shape`."""
        x = self._in_range(x)  # before the constant is encoded at its scale
        scale = x.scale_bits
        constant = encode(value, scale, limit=2.0 ** (self.ring.value_bits - scale))
        adds = self._adds_constants(x)

        def kernel(share: Tensor) -> Tensor:
            return share + beside(share, constant) if adds else share.expand(shape).contiguous()

        return self.linear("add", kernel, x, shape=shape)

    def multiply_public(
        self, operation: Bilinear, x: Sharing, value: Tensor, *, public_first: bool = False
    ) -> Sharing:
        """operation(x, value), or operation(value, x), with a public tensor; local.

        Integers (dtype bool or integer) keep the scale; real values add f bits to it, and as many
        more as they are small: a mean over 3000 values is not 1/3000 rounded to f bits.
        """
        whole = not value.is_floating_point()
        if whole:
            factor, added = encode(value, 0, limit=self.limit), 0
        else:
            x = self._at_most_f(x)  # whole numbers need no lift: the factor brings the scale
            added = self.scale_bits + self._spare_bits(value)
            factor = encode(value, added, limit=self.limit)
        shapes = (tuple(factor.shape), x.shape) if public_first else (x.shape, tuple(factor.shape))

        def kernel(share: Tensor) -> Tensor:
            public = beside(share, factor)
            return operation(public, share) if public_first else operation(share, public)

        shape = operation.output_shape(*shapes)
        return self.linear("multiply", kernel, x, shape=shape, added_bits=added)

    def _spare_bits(self, factor: Tensor) -> int:
        """How far below one the factors lie: so much finer they can be without growing."""
        peak = float(factor.abs().max()) if factor.numel() else 0.0
        _, exponent = math.frexp(peak)
        return min(max(-exponent, 0), self.ring.value_bits - 1 - 2 * self.scale_bits)

    # --- operations that the owner of all operands does alone, or a protocol does ---------------

    def product(self, operation: Bilinear, x: Sharing, y: Sharing) -> Sharing:
        """operation(x, y) of two secrets, at the sum of their scales: 2f, or less with integers."""
        if x.scale_bits + y.scale_bits > 2 * self.scale_bits:
            x, y = self._at_most_f(x), self._at_most_f(y)
        shape = operation.output_shape(x.shape, y.shape)
        scale = x.scale_bits + y.scale_bits
        if x.owner is not None and x.owner == y.owner:
            share = self.issue("product", self._linear, operation, [x, y], [0, 0])
            return Sharing(shape, scale, share, x.owner, x.ahead and y.ahead)
        return Sharing(shape, scale, self._product(operation, x, y))

    def table_sums(self, table: Sharing, places: Sharing, skip: int | None = None) -> Sharing:
        """Sums of rows of a table (V, d) at whole places, line by line: (N, M) -> (N, d), at 2f.

        Both have owners. Where these are two, it costs a round and `coordinates` words a line, to
        the table's owner, and the table once, however long it is (`protocols.lattice`).

        Args:
            skip: a place that adds nothing.

        Raises (at the places' owner, when the value is read):
            PlaceError: the table has no such rows.
        """
        if table.scale_bits > 2 * self.scale_bits:
            table = self.rescale(table)
        share = self._table_sums(table, places, skip)
        owner = table.owner if table.owner == places.owner else None
        shape = (places.shape[0], table.shape[1])
        return Sharing(shape, 2 * self.scale_bits, share, owner)

    @property
    def coordinates(self) -> int:
        """Words that a place in a masked table takes; a shorter table has cheaper unit vectors."""
        return dimension(self.scale_bits, self.ring)

    def scaled(self, s: Sharing, x: Sharing, scale_bits: int | None = None) -> Sharing:
        """s x, elementwise, at the sum of their scales, whatever that is: it must fit the ring.

        Args:
            scale_bits: if given, x is truncated to it first, without another opening.
        """
        shape = broadcast_shape(s.shape, x.shape)
        bits = 0 if scale_bits is None else x.scale_bits - scale_bits
        scale = s.scale_bits + x.scale_bits - bits
        if s.owner is not None and s.owner == x.owner:
            return self._owned_product(s, x, bits)
        if not bits:
            return Sharing(shape, scale, self._product(Multiply(), s, x))
        return Sharing(shape, scale, self._truncated_product(s, x, bits))

    def _at_most_f(self, x: Sharing) -> Sharing:
        return self.rescale(x) if x.scale_bits > self.scale_bits else x

    def _in_range(self, x: Sharing) -> Sharing:
        """x at 2f bits or less, where sums have the whole range of values."""
        return self.rescale(x) if x.scale_bits > 2 * self.scale_bits else x

    def rescale(self, x: Sharing) -> Sharing:
        """x at scale f: itself, lifted, or its truncation, which is made once."""
        bits = x.scale_bits - self.scale_bits
        if not bits:
            return x
        if x.truncated is None:
            x.truncated = self._rescaled(x, bits)
        return x.truncated

    def _rescaled(self, x: Sharing, bits: int) -> Sharing:
        if bits < 0:
            return self._apply("lift", lambda v: v << -bits, x, shape=x.shape, added_bits=-bits)
        if x.owner is not None:
            return self._apply(
                "round", lambda v: rounded(v, bits), x, shape=x.shape, added_bits=-bits
            )
        return Sharing(x.shape, self.scale_bits, self._truncate(x, bits), source=x)

    # --- comparisons, and what they select ------------------------------------------------------

    def below(
        self,
        x: Sharing,
        threshold: float = 0.0,
        *,
        peak: float | None = None,
        low: int | None = None,
    ) -> Bits:
        """[x < threshold], in the shape of x.

        For a value above scale f its truncation is judged: one step of 2^-f is its error.

        Args:
            peak: what |x - threshold| stays below; a smaller one costs less. By default
                everything that fits the range of values. A value beyond it gives a wrong bit.
            low: the lowest bit that is looked at; by default that of 2^-f.
        """
        return replace(self.steps(x, (threshold,), peak=peak, low=low), shape=x.shape)

    def steps(
        self,
        x: Sharing,
        thresholds: Sequence[float],
        *,
        peak: float | None = None,
        low: int | None = None,
        intervals: bool = False,
    ) -> Bits:
        """[x < t] for each public t, (K, *shape of x), with one opening for all of them.

        Args:
            intervals: thresholds ascend, and the bits but the last are [t_k <= x < t_(k+1)].
        """
        scale = x.scale_bits
        top = self.ring.value_bits
        high = min(top, top - 2 * self.scale_bits + scale) if scale else self.ring.integer_bits
        if peak is not None:
            high = min(high, max(math.ceil(math.log2(peak)) + scale, 1))
        low = min(max(scale - self.scale_bits, 0) if low is None else low, high - 1)
        whole = tuple(round(t * 2.0**scale) for t in thresholds)
        if scale and any(abs(t) >= self.limit for t in thresholds):
            raise ThresholdError(1, self.limit, self.scale_bits)
        key = (low, high, int(intervals), *whole)
        if key not in x.compared:
            x.compared[key] = (
                self._compare(x, whole, low, high, intervals)
                if x.owner is None
                else self._owned_steps(x, whole, low, intervals)
            )
        return x.compared[key]

    def indicator(self, b: Bits) -> Sharing:
        """The bits as numbers, 1 or 0, at scale 0."""
        if b.owner is not None:
            return self._owned_indicator(b)
        return Sharing(b.shape, 0, self._indicator(b))

    def weighed(self, b: Bits, weights: Tensor) -> Sharing:
        """Sums of the bits with whole weights, at scale 0; (K, ...), (R, K) -> (R, ...)."""
        if b.owner is not None:
            return self._owned_weighed(b, weights)
        return Sharing((len(weights), *b.shape[1:]), 0, self._weighed(b, weights))

    def select(self, b: Bits, x: Sharing) -> Sharing:
        """x where b, 0 elsewhere, at the scale of x; shapes broadcast, x has no more dimensions
        than b, but for one in front."""
        if b.owner is not None:
            return self._owned_select(b, x)
        return Sharing(broadcast_shape(b.shape, x.shape), x.scale_bits, self._select(b, x))

    def selected(self, b: Bits, x: Sharing) -> Sharing:
        """x at scale f where b, 0 elsewhere: there it may have passed the ring on the way."""
        return self.select(b, self.rescale(x))

    def relu(self, x: Sharing) -> Sharing:
        """max(x, 0), at scale f; the truncation of a product comes with it for nothing."""
        if x.owner is not None:
            x = self.rescale(x)
            return self.linear("relu", torch.relu, x, shape=x.shape)
        if x.scale_bits < self.scale_bits:
            x = self.rescale(x)
        return self.select(~self.below(x), self.rescale(x))

    def negative(self, x: Sharing) -> Sharing:
        """1 where x < 0, 0 elsewhere, at scale 0.

        For a product at scale 2f the truncated value is judged: one above -2^-f may count as 0.
        """
        return self.indicator(self.below(x))

    def ladder(self, x: Sharing, top: int, count: int, *, mirrored: bool = False) -> Bits:
        """[x < 8^-k 2^top] for k = 1 to count, (count, *shape of x).

        Where |x| is less than an eighth below one of these powers it may count as reaching it.

        Args:
            top: |x| stays below 7/8 of 2^top.
            mirrored: whether [x <= -8^-k 2^top] follow, in the same order.
        """
        high = top + x.scale_bits
        floor = max(min(x.scale_bits - self.scale_bits, high - 3 * count - 3), 0)
        planes = count * (2 if mirrored else 1)
        if x.owner is not None:
            return self._owned_steps(x, rungs(floor, high, count, planes), floor, False)
        return self._ladder(x, floor, high, count, planes)

    # --- functions of one wire, without a round of their own ------------------------------------

    def one_hot(self, x: Sharing, classes: int) -> Sharing:
        """[x = v] for v = 0 to classes - 1 of whole numbers x, (classes, *shape), at scale 0.

        Costs a word for each class, rounded up to a power of two. Other whole numbers give one
        wrong unit vector, or none.
        """
        digits = max(classes - 1, 1).bit_length()
        shape = (1 << digits, *x.shape)
        if x.owner is not None:
            hot = self._owned_one_hot(x, digits)
        else:
            hot = Sharing(shape, 0, self._one_hot(x, digits))
        if classes == 1 << digits:
            return hot
        return self._apply("classes", lambda v: v[:classes], hot, shape=(classes, *x.shape))

    def exponential(
        self, x: Sharing, lowest: float, highest: float, where: Bits | None = None
    ) -> Sharing:
        """e^x for lowest <= x < highest, at scale 2f; 0 where `where` is given and is not.

        Two rounds: the wire of x, and that of the power before its last factor, which is opened
        while the comparison that gives `where` goes on. The value must be below 2^(62 - 2f) / 2.
        Error: 4 steps of 2^-f, and 2^-f of the value.
        """
        f, unit = self.scale_bits, 8.0
        low, rate = x.scale_bits + 3, unit / math.log(2)
        least = math.floor(lowest / unit)
        digits = (math.ceil(highest / unit) - least).bit_length()
        scale = f + math.ceil(rate)
        share = self._exponential(x, low, digits, least, rate, scale)
        power = self.rescale(Sharing(x.shape, scale, share))
        if where is not None:
            power = self.select(where, power)
        return Sharing(x.shape, 2 * f, self._mantissa(power, x, low, rate, f))

    def waves(self, x: Sharing, turn: int, series: Tensor) -> Sharing:
        """The sum over k >= 0 of a_k cos(k w x) + b_k sin(k w x), w = 2 pi turn / 2^64.

        At scale `wave_bits`, finer than others: to be rescaled. No round once the wire is open.

        Args:
            turn: how far one step of x turns; whole, so that x may be anything.
            series: float64 (K + 1, 2), of a_k and b_k; public.

        Raises:
            ShapeError: the ring is too small for waves that are as fine as the scale asks for.
        """
        bits = self.wave_bits
        if bits < self.scale_bits + WAVE_BITS:
            most = bits - WAVE_BITS
            raise ShapeError(f"waves need scale_bits of {most} at most in {self.ring}")
        public = bits // 2 - 2
        share = self._waves(x, turn, series, (public, bits - public))
        return Sharing(x.shape, bits, share)

    @property
    def wave_bits(self) -> int:
        """Fractional bits of `waves`: truncated by 32 at the most, which is cheap to deal."""
        return min(self.scale_bits + 32, self.ring.value_bits - 6)
