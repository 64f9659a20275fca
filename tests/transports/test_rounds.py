"""When a round closes: a table of passes."""

from __future__ import annotations

from transports.rounds import Decision, Rounds


def test_nothing_posted() -> None:
    assert Rounds().passed(0.0, 0) is Decision.IDLE


def test_closes_after_one_quiet_pass() -> None:
    rounds = Rounds()
    rounds.posted(0.0)
    assert rounds.passed(0.0, 0) is Decision.WAIT
    assert rounds.passed(0.0, 0) is Decision.CLOSE
    assert rounds.passed(0.0, 0) is Decision.IDLE


def test_a_post_in_every_pass_keeps_it_open_for_a_bounded_time() -> None:
    rounds = Rounds(max_passes=10)
    decisions = []
    for _ in range(10):
        rounds.posted(0.0)
        decisions.append(rounds.passed(0.0, 0))
    assert decisions == [Decision.WAIT] * 9 + [Decision.CLOSE]


def test_time_does_not_close_a_round_that_is_not_quiet() -> None:
    rounds = Rounds(hold_limit_s=0.001)
    rounds.posted(0.0)
    assert rounds.passed(5.0, 0) is Decision.WAIT  # one pass may take long on a busy machine


def test_work_in_flight_holds_until_the_deadline() -> None:
    rounds = Rounds(hold_limit_s=0.002)
    rounds.posted(1.0)
    assert rounds.passed(1.0, 1) is Decision.WAIT
    assert rounds.passed(1.0001, 1) is Decision.HOLD
    assert rounds.deadline == 1.002
    assert rounds.passed(1.0019, 1) is Decision.HOLD
    assert rounds.passed(1.002, 1) is Decision.CLOSE


def test_work_that_comes_back_closes_after_a_quiet_pass() -> None:
    rounds = Rounds(hold_limit_s=10.0)
    rounds.posted(0.0)
    assert rounds.passed(0.0, 1) is Decision.WAIT
    assert rounds.passed(0.1, 1) is Decision.HOLD
    rounds.posted(0.2)
    assert rounds.passed(0.2, 0) is Decision.WAIT
    assert rounds.passed(0.2, 0) is Decision.CLOSE
