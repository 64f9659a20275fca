"""Which of the two protocols compares: dealt tables, or distributed point functions."""

import asyncio
from typing import Literal, TypeAlias

from protocols.errors import MessageError, PartiesError
from protocols.label import Label
from protocols.party import Party

__all__ = ["DISTANT_S", "Comparing", "Wanted", "agree_on_comparison", "check_comparison"]

Comparing: TypeAlias = Literal["tables", "dpf"]
Wanted: TypeAlias = Literal["tables", "dpf", "auto"]

DISTANT_S = 0.01
"""Round trip from which point functions pay: for each comparison they save one or two one-way
delays and cost some hundred nanoseconds and ten times the preprocessing an element."""

_ECHOES = 3


def check_comparison(wanted: Wanted, parties: int) -> None:
    """Refuses point functions for any number of parties but two.

    Raises:
        PartiesError: there are more.
    """
    if wanted == "dpf" and parties != 2:
        raise PartiesError(
            f"comparison = 'dpf' is for two computing parties, and there are {parties}: "
            f"use 'tables' or 'auto'"
        )


async def agree_on_comparison(party: Party, wanted: Wanted, *, live: bool = True) -> Comparing:
    """What all parties of a session compare with.

    "auto" with two parties: the first measures the round trip to the second and tells it what
    follows, so that both do the same whatever each of them would have measured. With more parties,
    or where preprocessing was dealt earlier, when nobody knew the link, it means tables.

    Args:
        live: whether the dealer is asked during the session.

    Raises:
        PartiesError: point functions are wanted for more than two parties.
        MessageError: the first party says something else.
    """
    check_comparison(wanted, party.size)
    if wanted != "auto":
        return wanted
    if party.size != 2 or not live:
        return "tables"
    return await (_measure(party) if party.first else _listen(party))


async def _measure(party: Party) -> Comparing:
    clock, shortest = asyncio.get_running_loop().time, float("inf")
    for number in range(_ECHOES):
        started = clock()
        party.exchange.post(1, _tag(f"echo/{number}"), b"", offline=True)
        await party.exchange.take(1, _tag(f"echoed/{number}"), what="an echo")
        shortest = min(shortest, clock() - started)
    chosen: Comparing = "dpf" if shortest >= DISTANT_S else "tables"
    party.exchange.post(1, _tag("chosen"), chosen.encode(), offline=True)
    return chosen


async def _listen(party: Party) -> Comparing:
    for number in range(_ECHOES):
        await party.exchange.take(0, _tag(f"echo/{number}"), what="an echo")
        party.exchange.post(0, _tag(f"echoed/{number}"), b"", offline=True)
    message = await party.exchange.take(0, _tag("chosen"), what="how to compare")
    said = bytes(message.payload)
    if said == b"dpf":
        return "dpf"
    if said == b"tables":
        return "tables"
    raise MessageError(0, "how to compare", f"{len(said)} bytes that name no protocol")


def _tag(name: str) -> bytes:
    return Label(f"comparison/{name}").tag
