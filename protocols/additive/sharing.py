"""Opening a secret under a mask, and revealing it."""

from math import prod

from torch import Tensor

from protocols.correlations import Mask, Member
from protocols.cost import Cost
from protocols.errors import OwnershipError
from protocols.party import Operator
from protocols.ring.bilinear import Shape
from protocols.ring.ring import RING, Ring
from protocols.shares import Share, Sharing, Wire

__all__ = [
    "hand_out",
    "hand_out_cost",
    "open_",
    "open_cost",
    "opened",
    "refresh",
    "refresh_cost",
    "reveal",
    "reveal_cost",
]


async def open_(
    op: Operator, x: Sharing, mask: Mask, senders: tuple[int, ...], receivers: tuple[int, ...]
) -> Share | None:
    """x + r, public to the receivers: a masked wire.

    Shapes:   x (...) -> (...)
    Spends:   the mask's name; its shares come from keys
    Cost:     1 round, an element of the ring from each sender to each receiver
    Reveals:  nothing. Every sender's message is its share plus its own part of r, which is uniform
              to everybody but itself and the dealer.
    Security: semi-honest; hides x from any set of parties that lacks one of the mask's holders
    """
    rank, ring = op.party.rank, mask.ring
    share = await op.read(x.share)
    total = share.value
    if rank in mask.holders:
        total = await op.run(total.numel(), mask.stream(op.party.key).added, total)
    others = [peer for peer in receivers if peer != rank]
    if rank in senders and others:
        sent = await op.run(total.numel(), ring.sent, total)
        op.post(others, "wire", sent, offline=share.offline)
        del sent
    if rank not in receivers:
        return None
    peers = [peer for peer in senders if peer != rank]
    for peer in peers:
        (part,) = await op.take(peer, "wire", Member.sent(x.shape, ring))
        total = await op.run(total.numel(), ring.added, total, part)
    return Share(total if peers else ring.reduced(total), op.depth)


async def opened(op: Operator, wire: Wire) -> Tensor:
    """The masked value of a wire that this party may see, once it is there."""
    share = await op.read(wire.masked)
    if share is None:
        raise OwnershipError(f"{op.label} needs a wire that is not open to party {op.party.rank}")
    return share.value


def open_cost(shape: Shape, ring: Ring = RING) -> Cost:
    """From one sender to one receiver."""
    return Cost(rounds=1, bits=ring.bits * prod(shape))


async def reveal(op: Operator, x: Sharing, to: tuple[int, ...], ring: Ring) -> Tensor | None:
    """x itself, in the ring, at the parties in `to`; as the number of least magnitude.

    Shapes:   x (...) -> (...)
    Cost:     1 round, an element of the ring from each party to each receiver
    Reveals:  x to the parties in `to`; nothing to others. The shares are re-randomized by a zero
              sharing first, so that a receiver learns their sum and not who added what to it.
    Security: semi-honest; up to n - 2 other parties may collude with a receiver
    """
    share = await op.read(x.share)
    size = share.value.numel()
    total = await op.run(size, lambda: share.value + op.zero(x.shape))
    sent = await op.run(size, ring.sent, total)
    op.post([peer for peer in to if peer != op.party.rank], "share", sent)
    if op.party.rank not in to:
        return None
    for peer in op.party.peers:
        (part,) = await op.take(peer, "share", Member.sent(x.shape, ring))
        total = await op.run(size, ring.added, total, part)
    return await op.run(size, ring.signed, total)


async def hand_out(op: Operator, x: Sharing, ring: Ring) -> Tensor:
    """This party's share of x for somebody outside, who adds up those of all parties.

    Shapes:   x (...) -> (...), as it travels
    Spends:   words of the pairs' keys under this operator's label; nothing of the dealer's
    Cost:     nothing is sent between parties
    Reveals:  x to whoever gets the shares of all parties; nothing to others. A zero sharing is
              added first: the shares are uniform among all that make x, so that nobody outside
              learns who added what.
    Security: semi-honest; n - 1 parties see nothing that they did not see before. Up to n - 2 of
              them may collude with whom the shares are for.
    """
    share = await op.read(x.share)
    size = share.value.numel()
    total = await op.run(size, lambda: ring.reduced(share.value + op.zero(x.shape)))
    return await op.run(size, ring.sent, total)


def hand_out_cost() -> Cost:
    """Between parties."""
    return Cost(rounds=0, bits=0)


def reveal_cost(shape: Shape, ring: Ring = RING) -> Cost:
    """From one party to one receiver."""
    return Cost(rounds=1, bits=ring.bits * prod(shape))


async def refresh(op: Operator, x: Sharing, ring: Ring) -> Share:
    """Other shares of the same x; of a value with an owner, its only share as it is.

    Shapes:   x (...) -> (...)
    Spends:   words of the pairs' keys under this operator's label; nothing of the dealer's
    Cost:     nothing is sent
    Reveals:  nothing
    Security: a zero sharing is added, of pairs' keys that live as long as the session. To whoever
              has none of these keys the new shares are uniform among all that make x, whatever the
              old ones were: old shares of some parties and new ones of others, which are not all
              parties' of either kind, tell nothing together.
    """
    share = await op.read(x.share)
    if x.owner is not None:
        return share
    size = share.value.numel()
    value = await op.run(size, lambda: ring.reduced(share.value + op.zero(x.shape)))
    return Share(value, op.depth, share.offline)


def refresh_cost() -> Cost:
    """At each party."""
    return Cost(rounds=0, bits=0)
