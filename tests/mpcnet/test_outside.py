"""Values of somebody who is no party."""

from __future__ import annotations

import asyncio

import pytest
import torch
from torch import Tensor, nn

import mpcnet
from mpcnet import Session
from mpcnet.errors import SecretError
from mpcnet.outside import OutsideShare, joined, split
from protocols.errors import EncodingError, OutsiderError
from protocols.ring.ring import RING, Ring

X = torch.tensor([[1.5, -2.25, 0.0], [1e3, -1e-3, 3.0]])


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("ring", [RING, Ring(48)], ids=str)
async def test_a_network_answers_somebody_outside(parties: int, ring: Ring) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    value = X / 100
    shares = split(value, parties, ring=ring)

    async def program(session: Session) -> OutsideShare:
        own = asyncio.get_running_loop().create_future()
        x = session.from_outside(own, shape=value.shape)
        state = {name: w.detach().clone() for name, w in network.state_dict().items()}
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        model.load_state_dict(state)
        with torch.no_grad():
            answer = session.private(model, owner=1)(x).to_outside()
        await session.prepared()
        own.set_result(shares[session.rank])
        share = await answer
        assert session.rounds == share.rounds
        return share

    answers = await mpcnet.local(parties, ring_bits=ring.bits).run(program)
    assert max(answer.rounds for answer in answers) >= 3
    result = joined(answers, (2, 2), ring=ring)
    torch.testing.assert_close(result, network(value).detach(), atol=2e-3, rtol=0)
    assert "data" not in repr(answers[0])


async def test_whole_numbers_and_owned_ones() -> None:
    whole = torch.tensor([3, -7, 1 << 40])

    async def program(session: Session) -> tuple[OutsideShare, OutsideShare]:
        x = session.from_outside(split_[session.rank], shape=(3,), dtype=torch.int64)
        known = session.share(whole if session.rank == 0 else None, owner=0, shape=(3,),
                              dtype=torch.int64)  # fmt: skip
        return await (x + 1).to_outside(), await known.to_outside()

    split_ = split(whole, 2)
    ours, owners = zip(*await mpcnet.local(2).run(program), strict=True)
    assert torch.equal(joined(ours, (3,), dtype=torch.int64), whole + 1)
    assert torch.equal(joined(owners, (3,), dtype=torch.int64), whole)
    assert all(share.data != bytes(24) for share in owners)  # nobody sees who owned it


async def test_what_goes_out_was_re_randomised() -> None:
    """What comes in goes out by other shares; each by itself is noise of its own."""
    value = torch.zeros(4096)
    shares = split(value, 2)

    async def program(session: Session) -> OutsideShare:
        return await session.from_outside(shares[session.rank], shape=(4096,)).to_outside()

    answers = await mpcnet.local(2).run(program)
    assert torch.equal(joined(answers, (4096,)), value)
    for data in (*shares, *(answer.data for answer in answers)):
        assert_uniform(data)
    words = [set(as_words(data).tolist()) for data in (shares[0], answers[0].data)]
    assert not words[0] & words[1]


def as_words(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.int64)


def assert_uniform(data: bytes) -> None:
    counts = torch.bincount(torch.frombuffer(bytearray(data), dtype=torch.uint8).int(),
                            minlength=256).double()  # fmt: skip
    expected = len(data) / 256
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert 120 < chi_squared < 420  # 255 degrees of freedom: beyond this once in 10^9 runs


async def test_a_share_of_another_size_is_refused() -> None:
    async def program(session: Session) -> None:
        assert session.outside_bytes((2, 3)) == 48
        with pytest.raises(OutsiderError, match=r"47 bytes.* 48"):
            session.from_outside(bytes(47), shape=(2, 3))
        with pytest.raises(SecretError, match="float32"):
            session.from_outside(bytes(48), shape=(2, 3), dtype=torch.float64)
        with pytest.raises(SecretError, match="plain"):
            session.to_outside(X)  # type: ignore[arg-type]
        with pytest.raises(OutsiderError):
            await late(session).to_outside()

    def late(session: Session) -> mpcnet.SecretTensor:
        own = asyncio.get_running_loop().create_future()
        own.set_result(bytes(3))
        return session.from_outside(own, shape=(2,))

    with pytest.raises(OutsiderError, match="3 bytes"):  # and that is the end
        await mpcnet.local(2).run(program)


async def test_the_clear_suite_has_no_shares() -> None:
    async def program(session: Session) -> None:
        session.from_outside(bytes(48), shape=(2, 3))

    with pytest.raises(OutsiderError, match="`additive`"):
        await mpcnet.local(2, suite="clear").run(program)


def test_the_other_side_is_told_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="2 parties or more"):
        split(X, 1)
    with pytest.raises(EncodingError):
        split(torch.tensor([1e9]), 2)
    with pytest.raises(ValueError, match="one result"):
        joined([OutsideShare(bytes(8), 22, 0), OutsideShare(bytes(8), 44, 0)], (1,))
    with pytest.raises(ValueError, match="one result"):
        joined([OutsideShare(bytes(8), 22, 0), OutsideShare(bytes(16), 22, 0)], (1,))
