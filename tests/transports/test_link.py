"""The rules of a link, one by one and without I/O."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.transports.sides import LIMITS, RESUME_S, link, message, pair, resumed
from transports import FrameError, HandshakeError
from transports.frame import HEADER_BYTES, Kind, decode, outgoing
from transports.handshake import Resume
from transports.link import TRANSITIONS, Event, State
from transports.redial import pause_s

# --- states ---------------------------------------------------------------------------------------


def test_every_state_is_in_the_table_and_ends_are_ends() -> None:
    assert set(TRANSITIONS) == set(State)
    assert [state for state in State if not TRANSITIONS[state]] == [State.CLOSED, State.LOST]
    for state in set(State) - {State.CLOSED, State.LOST}:
        assert TRANSITIONS[state][Event.ENDED] is State.CLOSED
        assert TRANSITIONS[state][Event.GIVEN_UP] is State.LOST


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_nothing_happens_that_is_not_in_the_table(state: State, event: Event) -> None:
    one = link()
    one.state = state
    if event in TRANSITIONS[state]:
        one._go(event)
        assert one.state is TRANSITIONS[state][event]
    else:
        with pytest.raises(RuntimeError, match=event.name):
            one._go(event)
        assert one.state is state


@pytest.mark.parametrize("end", ["close", "lose"])
def test_an_ended_link_keeps_nothing_and_stays_ended(end: str) -> None:
    one = link()
    one.number(Kind.DATA, [message(1)])
    getattr(one, end)()
    assert (one.kept(), one.kept_bytes) == ([], 0)
    state = one.state
    one.close()
    one.lose()
    assert one.state is state
    with pytest.raises(HandshakeError, match="over"):
        one.answer(Resume(rank=1, run="b", peer_run="a", connection=1, received=0), 1.0)


def test_the_deadline_runs_from_the_break_and_only_then() -> None:
    one = link()
    assert one.deadline is None
    one.broke(5.0)
    assert one.deadline == 5.0 + RESUME_S
    one.came_back()
    assert one.deadline == 5.0 + RESUME_S
    one.agreed(Resume(rank=1, run="b", peer_run="a", connection=1, received=0), 6.0)
    assert one.deadline is None


def test_connections_that_bring_nothing_do_not_put_the_deadline_off() -> None:
    a, b = pair()
    a.say(1)
    for now in (0.0, 3.0, 6.0):
        a.link.broke(now)
        b.link.broke(now)
        assert a.link.deadline == RESUME_S
        resumed(a, b, now + 1)
    replay = a.link.kept()
    b.hear_bytes(b"".join(replay[0].parts))
    b.link.broke(8.0)
    assert b.link.deadline == 8.0 + RESUME_S  # something came


def test_a_connection_that_held_puts_the_deadline_off() -> None:
    a, b = pair()
    a.link.broke(0.0)
    resumed(a, b, 1.0)
    a.link.broke(1.0 + RESUME_S)
    assert a.link.deadline == 1.0 + 2 * RESUME_S


# --- numbers and acknowledgements -----------------------------------------------------------------


def test_frames_are_numbered_from_one_and_kept_as_they_are() -> None:
    one = link()
    payload = bytes(1000)
    kept = one.number(Kind.DATA, [outgoing(b"t" * 16, payload, 0, False, LIMITS)])
    assert kept.sequence == 1
    assert any(part is payload for part in kept.parts)  # no copy
    assert one.number(Kind.BYE).sequence == 2
    assert [frame.sequence for frame in one.kept()] == [1, 2]
    assert one.kept_bytes == HEADER_BYTES + 32 + 1000 + HEADER_BYTES
    assert "1064 bytes" in repr(kept)


def test_what_is_acknowledged_is_forgotten() -> None:
    one = link()
    for number in range(10):
        one.number(Kind.DATA, [message(number)])
    for acknowledged in (0, 3, 3, 2, 10):  # 2 is older than what we know: of a replayed frame
        one.heard(acknowledged)
    assert (one.acknowledged, one.kept_bytes, one.kept()) == (10, 0, [])


def test_an_acknowledgement_of_the_future_breaks_the_rules() -> None:
    one = link()
    one.number(Kind.DATA, [message(1)])
    with pytest.raises(FrameError, match="acknowledges frame 2, 1 were sent"):
        one.heard(2)


def test_32_bits_of_an_acknowledgement_are_enough() -> None:
    one = link()
    one.sent = one.acknowledged = (1 << 32) - 2
    for number in range(4):
        one.number(Kind.DATA, [message(number)])
    one.heard(1)  # 2^32 + 1
    assert one.acknowledged == (1 << 32) + 1
    one.heard((1 << 32) - 1)  # older
    assert one.acknowledged == (1 << 32) + 1
    assert len(one.kept()) == 1
    with pytest.raises(FrameError):
        one.heard(3)


@pytest.mark.parametrize("sequence", [0, 1, 2, 4, 1 << 63])
def test_gaps_and_repetitions_break_the_rules(sequence: int) -> None:
    one = link()
    one.accept(1, 40)
    one.accept(2, 40)
    with pytest.raises(FrameError, match=f"sequence number {sequence}, 3 expected"):
        one.accept(sequence, 40)


def test_room_ends_at_the_limit_but_one_frame_always_fits() -> None:
    one = link(max_replay_bytes=1000)
    assert one.room(1 << 40)
    one.number(Kind.DATA, [message(1, 800)])
    assert one.room(1000 - one.kept_bytes)
    assert not one.room(1001 - one.kept_bytes)
    one.heard(1)
    assert one.room(1 << 40)


def test_a_link_that_does_not_resume_keeps_nothing() -> None:
    for one in (link(ours=""), link(theirs=""), link(resume_timeout_s=0)):
        assert not one.resumable
        one.number(Kind.DATA, [message(1)])
        assert one.kept_bytes == 0
        one.heard(1)
        with pytest.raises(FrameError):
            one.heard(2)


def test_acknowledgements_are_due_after_frames_or_bytes_and_ride_on_any_frame() -> None:
    one = link()
    for number in range(1, 64):
        one.accept(number, 40)
        assert not one.should_tell
    one.accept(64, 40)
    assert one.should_tell
    assert decode(b"".join(one.unnumbered(Kind.ACK)), LIMITS).acknowledged == 64
    assert not one.should_tell
    one.accept(65, 1 << 20)
    assert one.should_tell
    frame = one.number(Kind.DATA, [message(1)])
    assert decode(b"".join(frame.parts), LIMITS).acknowledged == 65
    assert not one.should_tell


def test_acknowledgements_are_asked_for_before_room_ends() -> None:
    one = link(max_replay_bytes=1000)
    one.number(Kind.DATA, [message(1, 400)])
    assert not one.should_ask
    one.number(Kind.DATA, [message(2, 80)])
    assert one.should_ask
    one.ping(1.0)
    assert not one.should_ask
    assert one.ponged(1.25) == 0.25
    assert one.should_ask


def test_a_pong_needs_a_ping_on_the_same_connection() -> None:
    a, b = pair()
    with pytest.raises(FrameError, match="PONG"):
        a.link.ponged(1.0)
    a.link.ping(1.0)
    assert a.link.pinging
    a.link.broke(2.0)
    resumed(a, b, 3.0)
    assert not a.link.pinging
    with pytest.raises(FrameError, match="PONG"):
        a.link.ponged(4.0)


# --- coming back ----------------------------------------------------------------------------------


def position(**changes: Any) -> Resume:
    """What a peer with three frames of ours, two of them acknowledged, says."""
    fields = {"rank": 1, "run": "b", "peer_run": "a", "connection": 1, "received": 2}
    return Resume(**(fields | changes))


WRONG = [
    ("run", {"run": "c"}),
    ("run", {"peer_run": "z"}),
    ("run", {"run": ""}),
    ("connection", {"connection": 0}),
    ("received", {"received": 1}),
    ("received", {"received": 4}),
    ("received", {"received": (1 << 63) - 1}),
]


@pytest.mark.parametrize(("field", "changes"), WRONG)
@pytest.mark.parametrize("suspended", [True, False])
def test_what_cannot_be_is_refused_and_harms_nothing(
    field: str, changes: dict[str, Any], suspended: bool
) -> None:
    one = link()
    for number in range(3):
        one.number(Kind.DATA, [message(number)])
    one.heard(2)
    if suspended:
        one.broke(1.0)
    state = one.state
    with pytest.raises(HandshakeError) as caught:
        one.answer(position(**changes), 2.0)
    assert caught.value.field == field
    assert (one.state, one.connection, len(one.kept())) == (state, 0, 1)
    one.answer(position(), 2.0)
    assert one.state is State.OPEN


@pytest.mark.parametrize(("field", "changes"), [*WRONG, ("connection", {"connection": 2})])
def test_an_answer_that_cannot_be_is_refused(field: str, changes: dict[str, Any]) -> None:
    one = link()
    for number in range(3):
        one.number(Kind.DATA, [message(number)])
    one.heard(2)
    one.broke(1.0)
    one.came_back()
    with pytest.raises(HandshakeError) as caught:
        one.agreed(position(**changes), 2.0)
    assert caught.value.field == field
    assert one.state is State.RESUMING


def test_an_attempt_that_was_overtaken_is_refused() -> None:
    a, b = pair()
    a.broke(1.0)
    early = a.link.came_back()
    a.link.broke(1.5)
    resumed(a, b, 2.0)
    with pytest.raises(HandshakeError, match="newer connection"):
        b.link.answer(early, 3.0)
    assert b.link.state is State.OPEN


def test_a_greeting_that_was_accepted_unheard_can_begin_again() -> None:
    one = link()
    assert one.untouched
    one.number(Kind.DATA, [message(1)])
    one.begin_again(1.0)
    assert [frame.sequence for frame in one.kept()] == [1]
    one.accept(1, 40)
    assert not one.untouched
    assert not link(ours="").untouched


def test_frames_that_came_are_dropped_only_right_after_a_resumption() -> None:
    a, b = pair()
    first, second = a.say(1), a.say(2)
    b.hear_bytes(first + second)
    a.broke(1.0)
    resumed(a, b)
    b.hear_bytes(first + second + a.say(3))
    assert b.got == a.said
    with pytest.raises(FrameError):
        b.hear_bytes(second)


def test_a_replay_has_no_gaps() -> None:
    a, b = pair()
    frames = [a.say(number) for number in range(3)]
    b.hear_bytes(b"".join(frames))
    a.broke(1.0)
    resumed(a, b)
    b.hear_bytes(frames[0])
    with pytest.raises(FrameError):
        b.hear_bytes(frames[2])


def test_pauses_grow_and_are_spread() -> None:
    assert pause_s(0, 0.0) < pause_s(0, 1.0) <= 0.05
    assert pause_s(3, 0.5) > 2 * pause_s(1, 0.5)
    assert pause_s(10**6, 1.0) == 2.0
