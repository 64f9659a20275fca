"""The book of guests: in step at all parties, whatever a browser does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from apps.page.frames import Answer, Kind, PageFrameError, Request
from apps.page.guests import MOST_UNANSWERED, Guest, Guests, Wish
from mpcnet.outside import OutsideShare

ID = "0f" * 16


class Party:
    """One party's book, and what it told its browser."""

    def __init__(self, *, leads: bool) -> None:
        self.book = Guests(lambda size: 8 * size, most=16, unit=4)
        self.woken = 0
        self.told: list[Any] = []
        self.book.begin(self.wake if leads else None)

    def wake(self) -> None:
        self.woken += 1

    def arrive(self, id: str = ID) -> Guest:
        return self.book.arrive(id, self.told.append)


def opened(number: int, size: int = 4) -> Request:
    return Request(Kind.OPEN, number, size)


def shared(number: int, size: int = 4, fill: bytes = b"s") -> Request:
    return Request(Kind.SHARE, number, size, fill * 8 * size)


@pytest.fixture
def leader() -> Party:
    return Party(leads=True)


@pytest.fixture
def follower() -> Party:
    return Party(leads=False)


def join(*parties: Party) -> list[Guest]:
    guests = [party.arrive() for party in parties]
    for party, guest in zip(parties, guests, strict=True):
        if party.book.leads:
            party.book.hear(guest, Request(Kind.JOIN))
            assert party.book.next_wish() == Wish("join", ID)
    assert all(party.book.here(ID) for party in parties)
    for party in parties:
        party.book.joined(ID, True, 100)
        assert party.told[-1] == {"type": "joined", "sent": 100}
    return guests


async def test_a_recording_in_pieces(leader: Party, follower: Party) -> None:
    ours, theirs = join(leader, follower)
    leader.book.hear(ours, opened(0))
    assert leader.woken == 2
    assert leader.book.next_wish() == Wish("chunk", ID, 4)
    early = follower.book.hear(theirs, shared(0, fill=b"t"))  # before its step is announced
    assert early is None
    slots = [party.book.share(ID, 4) for party in (leader, follower)]
    assert slots[1].result() == b"t" * 32
    assert not slots[0].done()
    leader.book.hear(ours, shared(0))
    assert slots[0].result() == b"s" * 32
    answer: asyncio.Future[OutsideShare] = asyncio.get_running_loop().create_future()
    leader.book.answer(ID, answer, 1, lambda: 77)
    answer.set_result(OutsideShare(b"logits", 44, 30))
    await asyncio.sleep(0)
    assert Answer.decode(leader.told[-1]) == Answer(0, 1, 44, 30, 77, b"logits")
    leader.book.hear(ours, Request(Kind.END, 1))
    assert leader.book.next_wish() == Wish("end", ID)
    leader.book.ended(ID)
    leader.book.answer(ID, None, 0, lambda: 78)
    assert Answer.decode(leader.told[-1]) == Answer(1, bytes_sent=78)
    leader.book.leave(ours)
    assert leader.book.next_wish() == Wish("stop", ID)
    for party in (leader, follower):
        party.book.left(ID)
        assert not party.book.busy
    assert follower.told[-1] is None


async def test_who_leaves_in_mid_word_owes_zeros(leader: Party, follower: Party) -> None:
    ours, theirs = join(leader, follower)
    leader.book.hear(ours, opened(0))
    leader.book.hear(ours, opened(1))
    follower.book.hear(theirs, shared(1))
    slots = [party.book.share(ID, 4) for party in (leader, follower)]
    leader.book.leave(ours)
    follower.book.leave(theirs)
    assert [slot.result() for slot in slots] == 2 * [bytes(32)]
    assert follower.book.share(ID, 8).result() == bytes(64)  # announced before that was known
    assert leader.book.next_wish() == Wish("stop", ID)  # and nothing that it still wished for
    assert leader.book.next_wish() is None


async def test_who_leaves_while_the_parties_ask_each_other_is_let_go(leader: Party) -> None:
    guest = leader.arrive()
    leader.book.hear(guest, Request(Kind.JOIN))
    leader.book.next_wish()
    leader.book.leave(guest)
    leader.book.joined(ID, True, 0)
    assert leader.book.next_wish() == Wish("stop", ID)


async def test_all_parties_must_have_the_guest(leader: Party) -> None:
    guest = leader.arrive()
    assert not leader.book.here("1e" * 16)
    leader.book.joined(ID, False, 0)
    assert leader.told[-2]["type"] == "over"
    assert leader.told[-1] is None
    leader.book.leave(guest)
    assert not leader.book.busy


@pytest.mark.parametrize(
    ("requests", "why"),
    [
        ([opened(1)], "not the next"),
        ([opened(0, 20)], "of size 20"),
        ([opened(0, 3)], "of size 3"),
        ([opened(n) for n in range(MOST_UNANSWERED + 1)], "wait for their answers"),
        ([Request(Kind.JOIN)], "joined already"),
        ([Request(Kind.HELLO, body=bytes(16))], "not the next|hello"),
        ([Request(Kind.SHARE, 0, 4, b"short")], "5 bytes"),
        ([shared(0), shared(0)], "nobody waits"),
        ([shared(n) for n in range(MOST_UNANSWERED + 1)], "nobody waits"),
    ],
    ids=["order", "large", "unit", "many", "twice", "hello", "short", "again", "flood"],
)
async def test_who_breaks_the_rules_is_refused(
    leader: Party, requests: list[Request], why: str
) -> None:
    (guest,) = join(leader)
    for request in requests[:-1]:
        leader.book.hear(guest, request)
    with pytest.raises(PageFrameError, match=why):
        leader.book.hear(guest, requests[-1])


async def test_a_follower_is_told_nothing_that_is_the_leaders(follower: Party) -> None:
    (guest,) = join(follower)
    with pytest.raises(PageFrameError, match="another party leads"):
        follower.book.hear(guest, opened(0))


async def test_a_piece_is_as_large_as_it_was_announced(follower: Party, leader: Party) -> None:
    _, theirs = join(leader, follower)
    slot = follower.book.share(ID, 4)
    with pytest.raises(PageFrameError, match="announced"):
        follower.book.hear(theirs, shared(0, 8))
    follower.book.leave(theirs)
    assert slot.result() == bytes(32)
    leader.book.hear(leader.book._guests[ID], shared(0, 8))
    assert leader.book.share(ID, 4).result() == bytes(32)
    assert leader.told[-1] is None


async def test_ids_are_taken_once_and_rooms_are_full(leader: Party) -> None:
    leader.arrive()
    with pytest.raises(PageFrameError, match="already"):
        leader.arrive()
    for number in range(63):
        leader.arrive(f"{number:032x}")
    with pytest.raises(PageFrameError, match="too many"):
        leader.arrive("f" * 32)


async def test_who_takes_a_place_and_says_nothing_is_let_go(leader: Party) -> None:
    def silent(guest: Guest, seconds: float) -> bool:
        """Whether it is let go after them."""
        guest.heard_at -= seconds
        leader.book._watch(guest)
        return guest.gone

    assert silent(leader.arrive("1e" * 16), 31)
    assert leader.told[-2]["why"] == "nothing was said for too long"
    (guest,) = join(leader)
    assert not silent(guest, 500)  # who is in has more time
    leader.book.hear(guest, opened(0))
    assert not silent(guest, 500)  # it spoke since
    assert silent(guest, 101)
    leader.book.hear(guest, opened(1))  # on its way already, and no mistake
    assert leader.book.next_wish() == Wish("stop", ID)
    assert leader.book.next_wish() is None


async def test_a_share_that_comes_when_the_session_has_just_broken(leader: Party) -> None:
    (guest,) = join(leader)
    leader.book.hear(guest, opened(0))
    leader.book.share(ID, 4).cancel()
    leader.book.hear(guest, shared(0))
    assert not guest.slots


async def test_the_end_of_a_session(leader: Party) -> None:
    (guest,) = join(leader)
    leader.book.stop()
    assert leader.told[-1] == {"type": "stopping"}
    with pytest.raises(PageFrameError, match="about to stop"):
        leader.arrive("1e" * 16)
    slot = leader.book.share(ID, 4)
    leader.book.dismiss("the link broke")
    assert leader.told[-2:] == [{"type": "over", "why": "the link broke"}, None]
    assert slot.result() == bytes(32)
    assert not leader.book.busy
    assert leader.book.next_wish() is None
    leader.book.leave(guest)  # its connection ends now, too
    leader.book.begin(leader.wake)
    leader.arrive()
