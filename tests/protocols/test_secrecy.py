"""What errors, logs and representations show: shapes and names, never a value."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols import errors
from protocols.additive import AdditiveSuite
from protocols.correlations import Mask, Truncation
from protocols.dealer import Dealer
from protocols.device import Device
from protocols.errors import EncodingError, InputShapeError, ProtocolError
from protocols.fixedpoint import SCALE_BITS
from protocols.label import Label
from protocols.party import Operator
from protocols.ring.bilinear import Multiply
from protocols.shares import Share
from tests.parties import run_parties
from tests.transports.pairs import local_exchanges
from transports import Exchange, PeerAborted

SECRET = 73519.0
ENCODED = str(int(SECRET * 2**SCALE_BITS))


def shows(thing: object) -> str:
    return f"{thing!r} {thing!s} {thing}"


async def test_handles_show_no_values() -> None:
    async def program(session: Session) -> None:
        suite, party = session.suite, session.suite.party
        assert isinstance(suite, AdditiveSuite)
        value = torch.full((3,), SECRET)
        x = session.share(value if session.rank == 0 else None, owner=0, shape=(3,))
        product = suite.product(Multiply(), x.sharing, x.sharing)
        relu = suite.relu(suite.linear("add", torch.add, product, x.sharing, shape=(3,)))
        wire = suite.wire(relu)
        masked = await wire.masked
        assert masked is not None
        share = await x.sharing.share
        hidden = [party.key.reveal(), *(key.reveal() for key in party.pairs.values())]
        operator = Operator(party, Label("1.x"))
        things = [x, x.sharing, share, masked, wire, relu, operator, party, suite, session]
        things += [party.key, *party.pairs.values(), wire.mask, party.exchange]
        for thing in things:
            text = shows(thing)
            assert "73519" not in text
            assert ENCODED not in text
            for word in masked.value.tolist():
                assert str(word) not in text
            for key in hidden:
                assert key.hex() not in text
                assert repr(key) not in text

    await run_parties(program)


async def test_a_dealer_shows_nothing() -> None:
    async with local_exchanges(3) as exchanges:
        device = Device()
        assert "0x" in shows(Dealer(exchanges[2], 2, device))  # an address, no fields
        device.close()


def test_shares_and_requests() -> None:
    assert repr(Share(torch.full((2,), 735))) == "Share(shape=(2,), depth=0)"
    request = Truncation("2.t", Mask("1.open/mask", (2,), (0, 1)), 20)
    assert "1.open/mask" in repr(request)


async def failing(
    value: Tensor | Callable[[], Awaitable[Tensor]], n: int = 2
) -> tuple[list[BaseException | None], float]:
    """What ends the session at each party, and when, after party 0 gave a wrong input of four."""
    exchanges: dict[int, Exchange] = {}
    began: list[float] = []

    async def program(session: Session) -> None:
        exchanges[session.rank] = session.suite.party.exchange
        began.append(time.monotonic())
        given = None
        if session.rank == 0:
            given = value if isinstance(value, Tensor) else value()
        x = session.share(given, owner=0, shape=(4,))
        y = session.share(torch.ones(4) if session.rank == 1 else None, owner=1, shape=(4,))
        await (x * y).relu().reveal()

    with pytest.raises((ProtocolError, RuntimeError)) as caught:
        await run_parties(program, n)
    assert caught.value is exchanges[0].error  # its owner sees the error itself
    return [exchanges[rank].error for rank in range(n)], time.monotonic() - began[0]


@pytest.mark.parametrize("n", [2, 3])
async def test_an_input_of_the_wrong_shape(n: int) -> None:
    got, seconds = await failing(torch.ones(5), n)
    assert isinstance(got[0], InputShapeError)
    assert "a value of shape (5,), declared (4,)" in str(got[0])
    for rank in range(1, n):
        assert isinstance(got[rank], PeerAborted)
        assert "not of the declared shape (4,)" in str(got[rank])
        assert "5" not in str(got[rank])
    assert seconds < 2


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("bad", [1e30, float("nan"), -7351973519.0])
async def test_numbers_that_cannot_be_encoded(n: int, bad: float) -> None:
    """Peers read neither how many there were nor how large."""
    value = torch.tensor([1.0, bad, bad, 2.0])
    got, seconds = await failing(value, n)
    error = got[0]
    assert isinstance(error, EncodingError)
    assert error.count == 2
    assert "2 value(s)" in str(error)
    assert "7351" not in str(error)
    for rank in range(1, n):
        text = str(got[rank])
        assert isinstance(got[rank], PeerAborted)
        assert "does not fit the fixed-point range" in text
        assert not any(digit in text.replace("p0", "") for digit in "0123456789")
    assert seconds < 2


async def test_a_promise_that_is_broken() -> None:
    """Of an error that is not ours peers read its type: its text may be about anything."""

    async def broken() -> Tensor:
        await asyncio.sleep(0)
        raise RuntimeError(f"the patient weighs {SECRET}")

    got, seconds = await failing(broken)
    assert isinstance(got[0], RuntimeError)
    assert isinstance(got[1], PeerAborted)
    assert got[1].reason == "RuntimeError"
    assert "73519" not in str(got[1])
    assert seconds < 2


async def test_logs_show_no_values(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        await failing(torch.tensor([SECRET, SECRET, float("inf"), SECRET]))
    captured = capsys.readouterr()
    for text in (caplog.text, captured.out, captured.err):
        assert "73519" not in text
        assert ENCODED not in text


def test_every_error_has_a_reason_for_peers() -> None:
    samples: list[ProtocolError] = [
        EncodingError(735, 4.2e6, 20),
        errors.DeviceError("cuda:0", "torch sees no such device"),
        InputShapeError("3.input", (735,), (4,)),
        errors.ThresholdError(1, 16.0, 29),
        errors.ShapeError("shapes (2,) and (3,) do not fit"),
        errors.OwnershipError("party 0 gave no value"),
        errors.MessageError(1, "3.open", "8 bytes instead of 16"),
        errors.PartiesError("for two computing parties, and there are 3"),
        errors.RequestError("3.t: a mask of unknown parties"),
        errors.RunAheadError(1 << 18),
        errors.OutsiderError("8 bytes instead of 16"),
        errors.PlaceError(735, 30_000),
    ]
    named = {name for name in errors.__all__ if name != "ProtocolError"}
    assert {type(sample).__name__ for sample in samples} == named
    for sample in samples:
        assert sample.peer_reason
        assert "735" not in sample.peer_reason
        if not isinstance(sample, EncodingError | InputShapeError | errors.PlaceError):
            assert sample.peer_reason == str(sample)
