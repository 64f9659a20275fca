"""Reading a table that one party owns at places that another one knows."""

import asyncio
from contextlib import nullcontext
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.correlations import Keep, Mask, Member, Product
from protocols.cost import Cost
from protocols.lattice import PublicRows, deviation_bits, dimension, errors, masked, row_sums
from protocols.owned import check_places
from protocols.party import Operator
from protocols.prg import Key
from protocols.ring.bilinear import MatrixProduct, Shape
from protocols.ring.matmul import matmul
from protocols.ring.ring import RING, Ring
from protocols.shares import MaskedTable, Share, Sharing, Wire

__all__ = [
    "coordinates",
    "hide_table",
    "hide_table_cost",
    "publish_rows",
    "table_sums",
    "table_sums_cost",
]

Published: TypeAlias = "asyncio.Future[Share]"

_KEY_WORDS = Key.SIZE_BYTES // 8


async def publish_rows(op: Operator, owner: int) -> Share:
    """The key of the public matrix A of a table, (4,) words: drawn by the owner, known to all.

    Cost:     256 bits, offline
    Reveals:  nothing: A is public
    """
    if op.party.rank == owner:
        words = torch.frombuffer(bytearray(Key.fresh().reveal()), dtype=torch.int64)
        op.post(op.party.peers, "rows", words, offline=True)
        return Share(words, offline=True)
    with op.party.working():
        (words,) = await op.take(owner, "rows", Member((_KEY_WORDS,)))
    return Share(words.cpu(), offline=True)


async def hide_table(
    op: Operator, w: Sharing, public: Published, owner: int, secret: Mask, f: int
) -> Share:
    """D = W + A S + E for all but the owner of W, who keeps S; see `protocols.lattice`.

    Sent once per session and table, ahead of time if W is known by then.

    Shapes:   W (V, d) -> D (V, d)
    Scale:    2f
    Cost:     1 round, an element of the ring for each of W from the owner to each peer; offline if
              W is known ahead
    Reveals:  nothing. The dealer knows S, but sees neither D nor A.
    Security: semi-honest; D hides W from all but the owner under learning with errors. It is the
              one protocol here whose masks are not uniform.
    """
    key_words = await op.read(public)
    if op.party.rank == owner:
        share = await op.read(w.share)
        rows = public_rows(key_words, secret)
        own = await op.mask(secret)
        value, bits = share.value << (2 * f - w.scale_bits), deviation_bits(f)
        work = prod(w.shape) * secret.shape[0]
        hidden = await op.run(work, masked, value, rows, own, bits)
        sent = await op.run(hidden.numel(), secret.ring.sent, hidden)
        op.post(op.party.peers, "table", sent, offline=w.ahead)
        del sent, hidden
        await op.material(Keep(f"{op.label}/material", secret))
        return Share(torch.empty(0, dtype=torch.int64), op.depth, offline=w.ahead)
    with op.party.working() if w.ahead else nullcontext():
        (sent,) = await op.take(owner, "table", Member.sent(w.shape, secret.ring))
        hidden = await op.run(sent.numel(), secret.ring.received, sent, w.shape)
    await op.material(Keep(f"{op.label}/material", secret))
    return Share(hidden, op.depth, offline=w.ahead)


def hide_table_cost(table: Shape, ring: Ring = RING) -> Cost:
    """From the owner to each peer; offline where the table is known ahead. Nothing is dealt."""
    return Cost(1, ring.bits * prod(table) + 64 * _KEY_WORDS)


async def coordinates(
    op: Operator, places: Sharing, table: MaskedTable, rows: int, skip: int | None
) -> Share:
    """The sums of rows of A at the places, at the one who knows these; zeros at others.

    Shapes:   places (N, M) -> (N, n)
    Scale:    0
    Domain:   0 <= place < rows; `PlaceError` at their owner else
    Cost:     none, nothing is sent
    Reveals:  nothing
    """
    key_words = await op.read(table.public)
    share = await op.read(places.share)
    shape = (places.shape[0], table.secret.shape[0])
    if op.party.rank != places.owner:
        return Share(torch.zeros(shape, dtype=torch.int64, device=op.place), op.depth)
    check_places(share.value, rows)
    public = public_rows(key_words, table.secret)
    value = await op.run(prod(shape), public.sums, share.value.cpu(), skip)
    return Share(value.to(op.place), op.depth, share.offline)


async def table_sums(
    op: Operator,
    places: Sharing,
    table: MaskedTable,
    wire: Wire,
    owner: int,
    skip: int | None,
    f: int,
) -> Share:
    """[z], z the sums of a table's rows at the places of each line, that `places.owner` knows.

    With c for what a line adds up of the rows of A, and c^ = c + r open to the table's owner alone:

        owner:   [z] = [t] - c^ S           reader:  [z] = [t] + (sums of the rows of D)
        others:  [z] = [t]                  t = r S, dealt

    which add up to (rows of D) - c S = (rows of W) + (rows of E).

    Shapes:   places (N, M), table (V, d) -> (N, d)
    Scale:    2f
    Domain:   as for every product; a place that is `skip` adds nothing
    Error:    normal, with a deviation of a quarter of a step of 2^-f times the root of M^2 + M
    Spends:   r S: an element of the ring per output, to the last party
    Cost:     0 rounds once c^ is at the owner, which takes n words a line (`protocols.lattice`),
              whatever V and M are
    Reveals:  nothing, no message is sent. The owner sees c^, blinded by the reader's r.
    Security: semi-honest; see `hide_table`. e is what lets z be revealed: without it, z would be an
              equation on S without an error (`protocols.lattice`).
    """
    request = Product(f"{op.label}/material", MatrixProduct(), wire.mask, table.secret)
    (t,) = await op.material(request)
    if op.party.rank == owner:
        opening, own = await opened(op, wire), await op.mask(table.secret)
        work = prod(wire.shape) * own.shape[1]

        def take_off() -> Tensor:
            fresh = errors((len(opening), own.shape[1]), places.shape[1], deviation_bits(f))
            return t.sub_(matmul(opening, own)).add_(fresh.to(t.device))

        return Share(await op.run(work, take_off), op.depth)
    if op.party.rank != places.owner:
        return Share(t, offline=True)
    hidden, share = await op.read(table.hidden), await op.read(places.share)
    work = places.shape[-1] * t.numel()
    rows = await op.run(work, row_sums, hidden.value, share.value, skip)
    return Share(t.add_(rows), op.depth, share.offline)


def table_sums_cost(lines: int, width: int, scale_bits: int, ring: Ring = RING) -> Cost:
    """With the coordinates still to open to the owner of the table; it was hidden before."""
    bits = ring.bits * lines
    return Cost(1, bits * dimension(scale_bits, ring), bits * width)


def public_rows(words: Share, secret: Mask) -> PublicRows:
    """A of the key that was published."""
    return PublicRows(Key(words.value.numpy().tobytes()), secret.shape[0])
