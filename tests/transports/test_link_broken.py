"""Links without I/O on a network that misbehaves: a conversation broken at every byte, every frame
lost, halved, late or repeated, and events in any order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.transports.sides import LIMITS, Side, finished, pair, resumed
from transports import FrameError
from transports.frame import HEADER_BYTES, Kind
from transports.link import State
from transports.reader import FrameReader

# --- a short conversation, broken everywhere ------------------------------------------------------


def conversation() -> Iterator[tuple[str, int]]:
    """Who speaks, and what."""
    for number in range(6):
        yield ("a" if number % 3 else "b"), number


def through_break(a: Side, b: Side, at: int) -> None:
    """Plays the conversation; the connection breaks after `at` bytes, in both directions."""
    left = at
    broken = False
    for who, number in conversation():
        speaker, hearer = (a, b) if who == "a" else (b, a)
        data = speaker.say(number)
        if broken:
            continue  # what is said meanwhile is kept
        hearer.hear_bytes(data[:left])
        left -= len(data)
        broken = left <= 0
    a.broke(1.0)
    if at % 2:
        b.broke(1.0)  # else it does not know yet
    for side, other, replay in zip((b, a), (a, b), resumed(a, b), strict=True):
        assert other.link.state is State.OPEN
        side.hear_bytes(b"".join(replay))
    finished(a, b)


def test_a_connection_may_break_after_every_byte() -> None:
    a, b = pair()
    total = sum(len((a if who == "a" else b).say(number)) for who, number in conversation())
    for at in range(total + 1):
        through_break(*pair(), at)


def test_a_connection_may_break_twice_in_a_replay() -> None:
    probe = Side("a", "b")
    total = sum(len(probe.say(number)) for number in range(3))
    for first, second in itertools.product(range(0, total, 7), range(0, total, 5)):
        a, b = pair()
        data = b"".join(a.say(number) for number in range(3))
        b.hear_bytes(data[:first])
        for now, cut in ((1.0, second), (2.0, total)):
            a.broke(now)
            replay, _ = resumed(a, b, now)
            b.hear_bytes(b"".join(replay)[:cut])
        finished(a, b)


@pytest.mark.parametrize("victim", range(4))
@pytest.mark.parametrize("fate", ["lost", "twice", "late", "half"])
def test_a_stream_that_lies_breaks_the_rules(victim: int, fate: str) -> None:
    """A connection that loses, repeats, reorders or halves a frame is no ordered stream."""
    a, b = pair()
    frames = [a.say(number) for number in range(5)]
    if fate == "lost":
        del frames[victim]
    elif fate == "twice":
        frames.insert(victim, frames[victim])
    elif fate == "late":
        frames[victim], frames[victim + 1] = frames[victim + 1], frames[victim]
    else:
        frames[victim] = frames[victim][: len(frames[victim]) // 2]
    with pytest.raises(FrameError):
        b.hear_bytes(b"".join(frames))
    assert b.got == a.said[: len(b.got)]


@pytest.mark.parametrize("victim", range(5))
@pytest.mark.parametrize("fate", ["lost", "half", "late"])
def test_a_frame_that_does_not_arrive_before_the_break_comes_after_it(
    victim: int, fate: str
) -> None:
    a, b = pair()
    frames = [a.say(number) for number in range(5)]
    b.hear_bytes(b"".join(frames[:victim]))
    if fate == "half":
        b.hear_bytes(frames[victim][:33])
    a.broke(1.0)
    replay, _ = resumed(a, b)
    assert replay == frames[victim:]  # the same bytes
    if fate == "late":  # what the old connection still held is read by nobody
        b.reader = FrameReader(LIMITS, "peer")
    b.hear_bytes(b"".join(replay))
    finished(a, b)


# --- any order of events --------------------------------------------------------------------------


class Conversation(RuleBasedStateMachine):
    """Two links, two streams of bytes between them, and whatever may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = pair(max_replay_bytes=600)
        self.wires = [b"", b""]  # on the way to the other side, by sender
        self.now = 0.0
        self.number = 0

    def connected(self) -> bool:
        return self.sides[0].link.state is State.OPEN

    def suspended(self) -> bool:
        return not self.connected()

    @rule(who=st.sampled_from([0, 1]))
    def say(self, who: int) -> None:
        side = self.sides[who]
        if side.link.room(HEADER_BYTES + 40):
            self.number += 1
            data = side.say(self.number)
            if self.connected() and side.link.state is State.OPEN:
                self.wires[who] += data

    @precondition(connected)
    @rule(who=st.sampled_from([0, 1]), kind=st.sampled_from([Kind.ACK, Kind.PING, Kind.PONG]))
    def sign(self, who: int, kind: Kind) -> None:
        self.wires[who] += b"".join(self.sides[who].link.unnumbered(kind))

    @precondition(connected)
    @rule(who=st.sampled_from([0, 1]), count=st.integers(1, 200))
    def arrive(self, who: int, count: int) -> None:
        piece, self.wires[who] = self.wires[who][:count], self.wires[who][count:]
        self.sides[1 - who].hear_bytes(piece)

    @precondition(connected)
    @rule(listener_knows=st.booleans())
    def cut(self, listener_knows: bool) -> None:
        self.now += 1
        self.wires = [b"", b""]
        self.sides[0].broke(self.now)
        if listener_knows:
            self.sides[1].broke(self.now)

    @precondition(suspended)
    @rule()
    def fail_to_come_back(self) -> None:
        self.sides[0].link.came_back()
        self.sides[0].link.broke(self.now)

    @precondition(suspended)
    @rule()
    def answer_gets_lost(self) -> None:
        dialler, listener = self.sides
        listener.link.answer(dialler.link.came_back(), self.now)
        listener.reader = FrameReader(LIMITS, "peer")
        dialler.link.broke(self.now)

    @precondition(suspended)
    @rule()
    def come_back(self) -> None:
        self.now += 1
        self.wires = [b"".join(replay) for replay in resumed(*self.sides, self.now)]

    @invariant()
    def nothing_is_lost_repeated_or_reordered(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            assert other.got == side.said[: len(other.got)]
            kept = [frame.sequence for frame in side.link.kept()]
            assert kept == list(range(side.link.acknowledged + 1, side.link.sent + 1))
            assert side.link.kept_bytes == sum(frame.size_bytes for frame in side.link.kept())
            assert side.link.kept_bytes <= 600
            assert side.link.acknowledged <= other.link.received

    def teardown(self) -> None:
        if self.suspended():
            self.come_back()
        for who in (0, 1):
            self.sides[1 - who].hear_bytes(self.wires[who])
        finished(*self.sides)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
