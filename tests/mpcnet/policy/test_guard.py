"""A party's policy in a session: what it does not allow is not sent, and ends all parties."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from mpcnet import Session, blocking, load, private, reveal, save, share, share_each, wait
from mpcnet.checkpoint import new_key
from mpcnet.errors import PolicyError
from mpcnet.parties import Gathering
from mpcnet.policy.guard import Guard, RuleGuard
from mpcnet.policy.rules import InputRule, RevealRule, Rule
from protocols.additive import AdditiveSuite
from protocols.suite import Suite
from tests.mpcnet.policy.facts import rule
from tests.transports.pairs import local_exchanges
from transports import PeerAborted

NAMES = ("anna", "boris", "clara")
ALL = RevealRule(to=("*",))
HERE = "test_guard.py"

Program = Callable[[Session], Awaitable[Any]]


@dataclass
class Ended:
    """How each party ended, and the online payload from each to each."""

    ends: list[Any]
    sent: dict[tuple[int, int], int]


async def run(program: Program, n: int, rules: Mapping[int, Rule]) -> Ended:
    """The program at n parties, some of which have a policy."""

    def session(suite: Suite, names: Sequence[str], **options: Any) -> Session:
        rank = suite.party.rank
        guard = RuleGuard(names, rank, rules[rank]) if rank in rules else Guard()
        return Session(suite, names, guard=guard, **options)

    async with local_exchanges(n + 1) as exchanges:
        gathering = Gathering(exchanges, NAMES[:n], AdditiveSuite, make_session=session)
        await gathering.open()
        ends = await asyncio.gather(
            *(each.run(program) for each in gathering.sessions), return_exceptions=True
        )
        sent = {
            (exchange.rank, peer): stats.online_payload_sent
            for exchange in exchanges[:n]
            for peer, stats in exchange.stats.items()
        }
        if not any(isinstance(end, BaseException) for end in ends):
            await gathering.close()
        else:
            gathering.fail(RuntimeError("over"))
            await gathering.close()
    return Ended(ends, sent)


async def total(session: Session) -> Any:
    """Everybody's number; the sum to the last party."""
    x = torch.cat(await share_each(torch.tensor([float(session.rank)])))
    return await reveal(x.sum(), to=len(session.names) - 1)


@pytest.mark.parametrize("n", [2, 3])
async def test_what_may_not_be_revealed_is_not_sent(n: int) -> None:
    free = await run(total, n, {})
    assert free.sent[0, n - 1] == 8  # a share of one number
    denied = await run(total, n, {0: rule(reveals=(RevealRule(to=("anna",)),))})
    assert denied.sent[0, n - 1] == 0
    error = denied.ends[0]
    assert isinstance(error, PolicyError)
    last = NAMES[n - 1]
    assert error.what.startswith(f"to reveal single to {last} at {HERE}:")
    assert error.why == "rule 'wages' lets nothing be revealed to them"
    for end in denied.ends[1:]:  # all with the same words
        assert isinstance(end, PeerAborted)
        assert end.reason == str(error)


@pytest.mark.parametrize("n", [2, 3])
async def test_what_is_allowed_takes_place(n: int) -> None:
    allowed = rule((InputRule(shape="1"),), (RevealRule(to=(NAMES[n - 1],), shape="single"),))
    ended = await run(total, n, dict.fromkeys(range(n), allowed))
    assert ended.ends[n - 1] == n * (n - 1) / 2


async def test_what_a_party_alone_learns_needs_no_rule() -> None:
    ended = await run(total, 2, {1: rule()})
    assert ended.ends[1] == 1.0


async def test_all_who_learn_it_must_be_allowed_to() -> None:
    async def program(session: Session) -> None:
        x = share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        await reveal(x)

    some = rule(reveals=(RevealRule(to=("boris",)), RevealRule(to=("clara",))))
    ended = await run(program, 3, {0: some})
    assert "to boris and clara" in str(ended.ends[0])
    assert not any(ended.sent.values())


async def test_shares_for_somebody_outside_are_a_reveal() -> None:
    async def program(session: Session) -> Any:
        x = share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        return await x.to_outside()

    every_party = rule((InputRule(),), (RevealRule(to=("*",)),))
    ended = await run(program, 2, {0: every_party})
    assert "to reveal 2 to (outside)" in str(ended.ends[0])
    assert isinstance(ended.ends[1], PeerAborted)
    outside = rule((InputRule(),), (RevealRule(to=("(outside)",)),))
    ended = await run(program, 2, {0: outside, 1: outside})
    assert [len(share.data) for share in ended.ends] == [16, 16]


async def test_an_input_that_is_not_allowed_does_not_go_in() -> None:
    async def program(session: Session) -> Any:
        mine = session.rank == 0
        model = private(torch.nn.Linear(3, 2), owner=0)
        x = share(None if mine else torch.ones(4, 3), owner=1, shape=(4, 3))
        return (await reveal(model(x), to=1)).shape

    may = (InputRule(shape="2x3", times=1), InputRule(shape="2"))
    ended = await run(program, 2, {0: rule(may, (ALL,))})
    assert ended.ends[1] == (4, 2)
    for refusing, why in (
        (rule((), (ALL,)), "names no such line"),
        (rule((InputRule(shape="*x5"),), (ALL,)), "has another shape for it"),
        (rule((InputRule(elements=5),), (ALL,)), "allows fewer elements"),
        (rule((InputRule(at="other.py:3"),), (ALL,)), "names no such line"),
        (rule((InputRule(),), (ALL,), rows=1), "limits.rows of rule 'wages' is 1"),
    ):
        ended = await run(program, 2, {0: refusing})
        assert isinstance(ended.ends[0], PolicyError)
        assert why in ended.ends[0].why
        assert f"the policy of anna refuses to give 2x3 at {HERE}" in str(ended.ends[1])
        assert ended.sent[0, 1] == 0


@pytest.mark.parametrize(
    ("refusing", "why"),
    [
        (rule(reveals=(RevealRule(to=("*",), times=2),)), "allows it fewer times"),
        (rule(reveals=(RevealRule(to=("*",), elements=5),)), "allows fewer elements"),
        (rule(reveals=(ALL,), revealed_elements=5), "limits.revealed_elements"),
    ],
    ids=["times", "elements", "limit"],
)
async def test_more_than_was_allowed_is_refused(refusing: Rule, why: str) -> None:
    async def program(session: Session) -> None:
        x = share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        for _ in range(3):
            await reveal(x, to=1)

    ended = await run(program, 2, {0: refusing})
    assert why in ended.ends[0].why
    assert ended.sent[0, 1] <= 2 * 16  # twice two numbers, unless the end came first


async def test_what_a_checkpoint_brings_back_is_an_input(tmp_path: Path) -> None:
    async def program(session: Session) -> None:
        file, key = tmp_path / f"{session.name}.ckpt", tmp_path / f"{session.name}.key"
        new_key(key)
        await save(file, key=key, model=private(torch.nn.Linear(2, 1), owner=0))
        await load(file, key=key, model=torch.nn.Linear(2, 1))

    ended = await run(program, 2, {0: rule((InputRule(times=3),))})
    assert "to give 1" in ended.ends[0].what
    assert ended.ends[0].why == "rule 'wages' allows it fewer times"


async def test_announcements_are_counted() -> None:
    ended = await run(total, 2, {0: rule(reveals=(ALL,), announced_bytes=2)})
    assert "to announce 3 bytes" in str(ended.ends[0])
    assert isinstance(ended.ends[1], PeerAborted)


async def test_a_program_cannot_go_on_after_a_refusal() -> None:
    async def program(session: Session) -> None:
        x = share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        try:
            await reveal(x, to=1)
        except PolicyError:
            await asyncio.sleep(10)

    ended = await run(program, 2, {0: rule()})
    assert [type(end) for end in ended.ends] == [PolicyError, PeerAborted]


async def test_programs_without_await_and_whole_models() -> None:
    @blocking
    def program(session: Session) -> Any:
        model = private(torch.nn.Linear(2, 2), owner=0)
        return sorted(wait(reveal(model, to=1)))

    allowed = rule(reveals=(RevealRule(to=("boris",), times=2, elements=6),))
    assert (await run(program, 2, {0: allowed})).ends == [[], ["bias", "weight"]]
    refused = await run(program, 2, {0: rule()})
    assert isinstance(refused.ends[0], PolicyError)
    assert f"at {HERE}" in refused.ends[0].what
