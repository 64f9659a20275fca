"""The lookout: finds out why a party waits in vain, and tells every party where the others are.

A party that runs another program than its peers waits for messages that never come. Once it has
waited for a while it asks its peers where they are; if they went apart, or one has finished, that
ends the session with an error that names the line at each party. Nothing is sent before.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Final, TypeVar

import msgspec

from mpcnet.errors import Divergence
from mpcnet.trail import MOST_STEPS, Record, Trail
from protocols.errors import MessageError
from protocols.label import Label
from protocols.party import Party
from protocols.payload import json_of
from transports import Message
from transports.virtual import VirtualLoop

__all__ = ["PATIENCE_S", "Lookout", "apart"]

T = TypeVar("T", bound=msgspec.Struct)

PATIENCE_S: Final = 2.0
"""How long a peer may keep a party waiting before it asks where that one is."""

_LOOK_S: Final = 0.1
_ANSWER_S: Final = 1.0  # how long to wait for answers
_PAUSE_S: Final = 0.05  # before an answer, so that nobody can have many of them
_MOST_ASKED: Final = 64  # times to look further back
_MAX_RECORD_BYTES: Final = 1 << 17


class _Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a record from a step on."""

    start: Annotated[int, msgspec.Meta(ge=0)]


class Lookout:
    """One party's place to see from.

    Args:
        names: of the parties.
        patience_s: how long a peer may keep us waiting before we ask.
    """

    def __init__(
        self, party: Party, names: Sequence[str], trail: Trail, patience_s: float = PATIENCE_S
    ) -> None:
        self._party = party
        self._names = names
        self._trail = trail
        self._patience_s = patience_s
        self._runs = 0
        self._asked = 0
        self._left: set[int] = set()  # peers that have finished, since we last asked
        for peer in party.peers:
            self._await_question(peer, 0)

    def begin(self) -> None:
        """A program begins."""
        self._trail.finished = False
        self._left.clear()
        for peer in self._party.peers:
            self._await_end(peer)

    def finish(self) -> None:
        """The program has ended; peers get to know."""
        self._trail.finished = True
        tag = Label(f"end/{self._party.rank}/{self._runs}").tag
        self._runs += 1
        for peer in self._party.peers:
            self._party.exchange.tell(peer, tag)

    def _await_end(self, peer: int) -> None:
        tag = Label(f"end/{peer}/{self._runs}").tag
        self._party.exchange.notice(peer, tag, lambda _: self._left.add(peer))

    async def watch(self) -> Divergence:
        """Returns once the parties are found to have gone apart."""
        if isinstance(asyncio.get_running_loop(), VirtualLoop) or not self._party.peers:
            # It tells itself that all stand still; and who is alone waits for nobody.
            await asyncio.get_running_loop().create_future()
        longest, seen, patience = 0.0, 0, round(self._patience_s / _LOOK_S)
        while True:
            await asyncio.sleep(_LOOK_S)
            waits = {peer: self._party.exchange.longest_wait(peer) for peer in self._party.peers}
            before, longest = longest, max(seconds for seconds, _ in waits.values())
            if longest <= before or not before:  # what was waited for has come
                seen, patience = 0, round(self._patience_s / _LOOK_S)
                continue
            # Looks are counted, not seconds: while nothing runs in this process nobody is late.
            seen += 1
            if seen < patience and not any(waits[peer][0] > _LOOK_S for peer in self._left):
                continue
            self._left.clear()
            if (error := await self._inquire(waits)) is not None:
                return error
            patience = 2 * max(seen, patience)

    async def _inquire(self, waits: Mapping[int, tuple[float, str]]) -> Divergence | None:
        """Asks all peers where they are; the error if parties went apart."""
        labels = [text.partition(".")[0] for seconds, text in waits.values() if seconds]
        numbers = [int(label) for label in labels if label.isdecimal()]
        step = min((self._trail.step_of(number) for number in numbers), default=self._trail.count)
        start = max(step - MOST_STEPS // 2, 0)
        for _ in range(_MOST_ASKED):
            records = await self._ask(start)
            records[self._party.rank] = self._trail.record(start)
            index = apart(records)
            if index is None:
                return None
            if index > start or not start:
                return Divergence(tuple(self._describe(records, index)))
            start = max(index - MOST_STEPS // 2, 0)
            if start < max(record.start for record in records.values()) == index:
                return Divergence(tuple(self._describe(records, index)))
        return None

    async def _ask(self, start: int) -> dict[int, Record]:
        loop, number = asyncio.get_running_loop(), self._asked
        self._asked += 1
        answers: dict[int, asyncio.Future[Message]] = {}
        for peer in self._party.peers:
            answers[peer] = loop.create_future()
            tag = Label(f"answer/{peer}/{number}").tag
            self._party.exchange.notice(peer, tag, answers[peer].set_result)
            tag = Label(f"question/{self._party.rank}/{number}").tag
            self._party.exchange.tell(peer, tag, msgspec.json.encode(_Question(start)))
        await asyncio.wait(answers.values(), timeout=_ANSWER_S)
        return {
            peer: _decoded(peer, answer.result(), Record)
            for peer, answer in answers.items()
            if answer.done()
        }

    def _describe(self, records: Mapping[int, Record], index: int) -> Iterator[str]:
        """Each party's place when they went apart, as clauses."""
        for rank, record in sorted(records.items()):
            name, step = self._names[rank], record.at(index)
            last = record.at(record.count - 1)
            if step is not None:
                yield f"{name} is at {step}, step {index + 1}"
            elif last is None:
                yield f"{name} has {'finished' if record.finished else 'begun'} without any step"
            elif record.finished:
                yield f"{name} has finished after {last}, step {record.count}"
            else:
                yield f"{name} is still at {last}, step {record.count}"

    # --- questions of others --------------------------------------------------------------------

    def _await_question(self, peer: int, number: int) -> None:
        def heard(message: Message) -> None:
            loop = asyncio.get_running_loop()
            loop.call_later(_PAUSE_S, self._answer, peer, number, message)

        tag = Label(f"question/{peer}/{number}").tag
        self._party.exchange.notice(peer, tag, heard)

    def _answer(self, peer: int, number: int, message: Message) -> None:
        try:
            question = _decoded(peer, message, _Question)
        except MessageError as error:
            self._party.exchange.fail(error)
            return
        tag = Label(f"answer/{self._party.rank}/{number}").tag
        record = msgspec.json.encode(self._trail.record(question.start))
        self._party.exchange.tell(peer, tag, record)
        self._await_question(peer, number + 1)


def apart(records: Mapping[int, Record]) -> int | None:
    """The first step that not all parties take alike, as far as can be seen; None if they do.

    If that is the first step that is told of, they went apart there or before.
    """
    start = max(record.start for record in records.values())
    for index in range(start, max(record.count for record in records.values())):
        steps = [record.at(index) for record in records.values()]
        if len({step.digest for step in steps if step is not None}) > 1:
            return index
        beyond = any(record.count > index for record in records.values())
        if beyond and any(record.finished and record.count <= index for record in records.values()):
            ended = min(record.count for record in records.values() if record.finished)
            return ended
        if not any(steps):
            return None
    return None


def _decoded(peer: int, message: Message, kind: type[T]) -> T:
    return json_of(
        message.payload, kind, _MAX_RECORD_BYTES, peer=peer, what="a record of where it is"
    )
