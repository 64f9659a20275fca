"""The dealer on the wire: whom it answers, and what it refuses."""

import asyncio
from typing import Any

import msgspec
import pytest
import torch

from mpcnet.session import Session
from protocols.correlations import Keep, Mask, Product, Truncation
from protocols.dealer import Dealer
from protocols.device import Device
from protocols.errors import MessageError, RequestError
from protocols.label import Label
from protocols.party import Party
from protocols.preprocessing.source import MAX_REQUESTS
from protocols.prg import Key, Stream
from protocols.ring.bilinear import Convolution, MatrixProduct, Multiply
from tests.parties import run_parties
from tests.protocols.dealing import dealing, request
from tests.protocols.ringvalues import given, revealed, uniform
from tests.transports.pairs import local_exchanges


class IdleDevice(Device):
    """A device that no kernel may reach."""

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the dealer began to work")


def mask(shape: tuple[Any, ...], holders: tuple[int, ...] = (0, 1), **more: Any) -> dict[str, Any]:
    return {"label": "1.open/mask", "shape": shape, "holders": holders, "kept": False} | more


def truncation(shape: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    fields = {"type": "truncation", "label": "2.t/material", "mask": mask(shape), "bits": 20}
    return fields | more


def comparison(shape: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    fields = {"type": "comparison", "label": "2.c/material", "mask": mask(shape)}
    return fields | {"low": 0, "high": 42, "bits": bits((1, *shape))} | more


def bits(shape: tuple[Any, ...]) -> dict[str, Any]:
    return {"label": "2.c/bits", "shape": shape}


def function(kind: str, shape: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    return {"type": kind, "label": "2.f/material", "mask": mask(shape)} | more


def truncated_product(x: Any, y: Any, **more: Any) -> dict[str, Any]:
    fields = {"type": "truncated_product", "label": "2.f/material"}
    return fields | {"factor": mask(x), "x": mask(y)} | more


def sample(shape: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    fields = {"type": "sample", "label": "2.s/material", "shape": shape}
    return fields | {"kind": "uniform", "scale": 20, "parameter": 0.5} | more


def product(operation: dict[str, Any], x: Any, y: Any, **more: Any) -> dict[str, Any]:
    fields = {"type": "product", "label": "2.p/material", "operation": operation}
    return fields | {"x": mask(x), "y": mask(y)} | more


def conv(*fields: Any, groups: int = 1) -> dict[str, Any]:
    stride, padding, dilation = fields
    return {"type": "conv", "stride": stride, "padding": padding, "dilation": dilation} | {
        "groups": groups
    }


MUL, MATMUL = {"type": "mul"}, {"type": "matmul"}

HOSTILE: dict[str, Any] = {
    "not JSON": b"\xff\xfe",
    "cut short": b'{"type": "truncation"',
    "a list": [],
    "a number": 7,
    "deeply nested": b"[" * 100_000,
    "no fields": {},
    "unknown kind": truncation((2,), type="secret"),
    "unknown field": truncation((2,), seed=1),
    "unknown field of the mask": truncation((2,), mask=mask((2,), key="0")),
    "wrong type": truncation((2,), bits="20"),
    "truncation by nothing": truncation((2,), bits=0),
    "truncation by too much": truncation((2,), bits=62),
    "negative size": truncation((-1,)),
    "two negative sizes": truncation((-2, -2)),
    "size that is no integer": truncation((1.5,)),
    "a terabyte": truncation((2**37,)),
    "sizes whose product wraps to zero": truncation((2**40, 2**40)),
    "sizes beyond 64 bits": truncation((2**70,)),
    "nothing, and a size beyond 64 bits": truncation((0, 2**70)),
    "nothing, and a size that cannot be": truncation((0, 2**62)),
    "many dimensions": truncation((1,) * 1000),
    "holder out of range": truncation((2,), mask=mask((2,), (0, 2))),
    "holder that is the dealer": truncation((2,), mask=mask((2,), (2,))),
    "negative holder": truncation((2,), mask=mask((2,), (-1,))),
    "window too wide": comparison((2,), low=0, high=61),
    "window beyond the ring": comparison((2,), low=10, high=64),
    "window upside down": comparison((2,), low=10, high=10),
    "bits without planes": comparison((2,), bits=bits(())),
    "bits of another shape": comparison((2,), bits=bits((1, 3))),
    "bits of a negative size": comparison((2,), bits=bits((-1, 2))),
    "a terabyte of planes": comparison((2,), bits=bits((2**37, 2))),
    "selection by a terabyte": function("selection", (2,), bits=bits((2**37, 2)), shift=0),
    "selection broadcast to a terabyte": function(
        "selection", (2**20, 1), bits=bits((1, 1, 2**20)), shift=0
    ),
    "selection with a shift too far": function("selection", (2,), bits=bits((1, 2)), shift=62),
    "digits without end": function("onehot", (2,), low=20, digits=40),
    "unit vectors of terabytes": function("onehot", (2**22,), low=20, digits=12),
    "powers beyond the ring": function(
        "exponential", (2,), low=20, digits=6, least=-20, rate=1.0, scale=62
    ),
    "powers from far below": function(
        "exponential", (2,), low=20, digits=6, least=-(2**70), rate=1.0, scale=40
    ),
    "powers that do not grow": function(
        "exponential", (2,), low=20, digits=6, least=-2, rate=-1.0, scale=40
    ),
    "waves without end": function("waves", (2,), turn=1 << 40, count=2**40, scale=20),
    "waves that do not wave": function("waves", (2,), turn=0, count=3, scale=20),
    "a ladder into the ground": function(
        "ladder", (2,), floor=20, high=40, count=7, bits=bits((7, 2))
    ),
    "a ladder without end": function(
        "ladder", (2,), floor=0, high=40, count=2**40, bits=bits((2**40, 2))
    ),
    "a ladder with other bits": function(
        "ladder", (2,), floor=0, high=40, count=7, bits=bits((6, 2))
    ),
    "the last of a terabyte of planes": comparison(
        (2**20,), bits=bits((1, 2**20)) | {"first": 2**12 - 1}
    ),
    "planes before the first": comparison((2,), bits=bits((1, 2)) | {"first": -1}),
    "a product truncated too far": truncated_product((2,), (2,), bits=62),
    "a truncated product of terabytes": truncated_product((2**20, 1), (1, 2**20), bits=20),
    "a terabyte of samples": sample((2**37,)),
    "samples of a negative size": sample((-2,)),
    "samples of no known kind": sample((2,), kind="seed"),
    "odds above one": sample((2,), parameter=1.5),
    "samples finer than a double": sample((2,), scale=60),
    "tables of a gigabyte": comparison((2**24,)),
    "products of ten chunks": comparison((2**22,), low=0, high=60),
    "shapes that do not fit": product(MATMUL, (2, 3), (2, 3)),
    "broadcast to a terabyte": product(MUL, (2**20, 1), (1, 2**20)),
    "outer product of a terabyte": product(MATMUL, (2**20, 1), (1, 2**20)),
    "matmul of scalars": product(MATMUL, (), ()),
    "convolution of nothing": product(conv((), (), ()), (2, 2), (2, 2)),
    "convolution of a scalar": product(conv((1,), (0,), (1,)), (), ()),
    "no groups": product(conv((1,), (0,), (1,), groups=0), (1, 0, 4), (2, 2, 2)),
    "stride 0": product(conv((0,), (0,), (1,)), (1, 2, 4), (2, 2, 2)),
    "endless padding": product(conv((2**40,), (2**39,), (1,)), (1, 1, 4), (1, 1, 4)),
    "windows of terabytes": product(conv((1,), (0,), (1,)), (1, 1, 2**20), (1, 1, 2**19)),
    "keeping a terabyte": {"type": "keep", "label": "2.k", "mask": mask((2**37,), kept=True)},
    "keeping for a stranger": {"type": "keep", "label": "2.k", "mask": mask((2,), (5,))},
    "a ring of no known size": truncation((2,), mask=mask((2,), ring_bits=56)),
    "a truncation beyond its ring": truncation((2,), mask=mask((2,), ring_bits=48), bits=46),
    "a window beyond its ring": comparison((2,), mask=mask((2,), ring_bits=48), low=20, high=48),
    "a digit beyond its ring": function(
        "onehot", (2,), mask=mask((2,), ring_bits=48), low=40, digits=9
    ),
    "waves that a ring cuts off": function(
        "waves", (2,), mask=mask((2,), ring_bits=48), turn=1 << 15, count=3, scale=20
    ),
    "a ladder beyond its ring": function(
        "ladder", (2,), mask=mask((2,), ring_bits=48), floor=20, high=48, count=7, bits=bits((7, 2))
    ),
    "a product of two rings": product(MUL, (2,), (2,)) | {"y": mask((2,), ring_bits=48)},
    "a truncated product of two rings": truncated_product((2,), (2,), bits=20)
    | {"factor": mask((2,), ring_bits=48)},
    "a selection from another ring": function(
        "selection", (2,), bits=bits((1, 2)), shift=0, ring_bits=48
    ),
    "a label that is no text": b'{"type": "keep", "label": "\xff"}',
    "unknown operation": product({"type": "eval"}, (2,), (2,)),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_requests_are_refused_before_any_work(name: str) -> None:
    hostile = HOSTILE[name]
    payload = hostile if isinstance(hostile, bytes) else msgspec.json.encode(hostile)
    async with dealing(IdleDevice()) as (exchanges, dealer):
        request(exchanges, 0, payload)
        with pytest.raises(RequestError) as caught:
            await dealer
        assert len(str(caught.value)) < 2000


async def test_honest_requests_of_the_same_forms_are_answered() -> None:
    honest = [
        truncation((2,)),
        truncation(()),
        truncation((0, 3)),
        truncation((2,), mask=mask((2,), ())),
        comparison((2,)),
        comparison((65,), low=2, high=62),
        comparison((65,), bits=bits((3, 65))),
        function("selection", (2,), bits=bits((1, 2)), shift=0),
        function("selection", (4, 2), bits=bits((1, 1, 2)), shift=20),
        {"type": "selection", "label": "", "bits": bits((1, 2))},
        {"type": "selection", "label": "", "bits": bits((1, 2)), "ring_bits": 48},
        truncation((3,), mask=mask((3,), ring_bits=48)),
        sample((5,), ring_bits=48),
        function("onehot", (2, 3), low=20, digits=3),
        function("exponential", (2,), low=20, digits=4, least=-8, rate=1.5, scale=20),
        function("waves", (), turn=1 << 40, count=3, scale=20),
        function("ladder", (2,), floor=0, high=40, count=7, bits=bits((14, 2))),
        comparison((65,), bits=bits((1, 65)) | {"first": 3}),
        truncated_product((2, 1), (3,), bits=20),
        sample((2, 2)),
        sample((0,), kind="normal"),
        product(MUL, (2, 1), (3,)),
        product(MATMUL, (2, 3), (3,)),
        product(conv((2,), (1,), (1,), groups=2), (1, 4, 9), (2, 2, 3)),
    ]
    async with dealing(Device()) as (exchanges, dealer):
        for number, fields in enumerate(honest):
            fields["label"] = f"{number}.x/material"
            request(exchanges, number, msgspec.json.encode(fields))
            answer = await exchanges[1].take(2, Label(fields["label"]).tag)
            assert answer.offline
        request(exchanges, len(honest), b"")
        await dealer
        assert exchanges[2].stats[0].payload_sent == 0


async def test_the_same_request_is_answered_alike() -> None:
    kept = Mask("1.operand/mask", (3,), (0,), kept=True)
    other = Mask("2.open/mask", (3,), (1,))
    encoded = msgspec.json.encode(Product("3.p/material", Multiply(), other, kept))
    async with dealing(Device()) as (exchanges, _):
        answers = []
        for number in range(2):
            request(exchanges, number, encoded)
            message = await exchanges[1].take(2, Label("3.p/material").tag)
            answers.append(bytes(message.payload))
        assert answers[0] == answers[1]


@pytest.mark.parametrize("size", [0, 16, 31, 33, 1 << 20])
async def test_a_key_of_the_wrong_size(size: int) -> None:
    async with local_exchanges(3) as exchanges:
        device = IdleDevice()
        task = asyncio.create_task(Dealer(exchanges[2], 2, device).serve())
        exchanges[0].post(2, Label("key/0").tag, bytes(size), offline=True)
        with pytest.raises(MessageError, match=f"party 0 sent a wrong message .* {size} bytes"):
            await task
        device.close()


async def test_kept_masks_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[str] = []
    stream = Mask.stream

    def counted(self: Mask, key: Key) -> Stream:
        shares.append(self.label)
        return stream(self, key)

    monkeypatch.setattr(Mask, "stream", counted)
    kept = Mask("1.operand/mask", (3,), (0,), kept=True)
    async with dealing(Device()) as (exchanges, _):
        request(exchanges, 0, msgspec.json.encode(Keep("0.k/material", kept)))
        notice = await exchanges[1].take(2, Label("0.k/material").tag)
        assert not notice.payload
        assert shares == ["1.operand/mask"]
        for number in range(1, 4):
            label = f"{number}.p/material"
            x = Mask(f"{number}.open/mask", (3,), (1,))
            encoded = msgspec.json.encode(Product(label, Multiply(), x, kept))
            request(exchanges, number, encoded)
            await exchanges[1].take(2, Label(label).tag)
    assert shares.count("1.operand/mask") == 1
    assert sum(label.endswith("open/mask") for label in shares) == 3


def test_requests_survive_the_wire() -> None:
    x, y = Mask("1.open/mask", (2, 3), (0, 1)), Mask("2.operand/mask", (3, 4), (0,), kept=True)
    for sent in (
        Keep("3.k/material", y),
        Product("3.p/material", MatrixProduct(), x, y),
        Product("3.p/material", Convolution((1, 1), (0, 0), (1, 1)), x, y),
        Truncation("3.t/material", x, 20),
    ):
        assert msgspec.json.decode(msgspec.json.encode(sent), type=type(sent)) == sent


@pytest.mark.parametrize("n", [2, 3, 5])
async def test_only_the_last_party_hears_from_the_dealer(n: int) -> None:
    async def program(session: Session) -> Any:
        suite = session.suite
        x, y = given(session, uniform((4,), 1) >> 40), given(session, uniform((4,), 2) >> 40)
        return await revealed(session, suite.relu(suite.product(Multiply(), x, y)))

    outcome = await run_parties(program, n)
    for rank in range(n):
        assert (outcome.offline_bits[n, rank] > 0) == (rank == n - 1)
        assert outcome.online_bits[n, rank] == outcome.online_bits[rank, n] == 0
        if rank < n - 1:
            assert outcome.offline_bits[rank, n] == 256  # its key


async def test_masks_beyond_the_limit_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers stay right when the dealer has no room for another mask of weights."""
    monkeypatch.setattr("protocols.dealer.MAX_KEPT_BYTES", 8 * 9)

    async def program(session: Session) -> torch.Tensor:
        owned = [
            session.share(
                torch.eye(3) * scale if session.rank == 1 else None, owner=1, shape=(3, 3)
            )
            for scale in (2.0, 5.0)
        ]
        for weight in owned:
            session.suite.prepare_operand(weight.sharing)
        x = session.share(torch.ones(3) if session.rank == 0 else None, owner=0, shape=(3,))
        return await ((x @ owned[0]) @ owned[1]).reveal()

    assert (await run_parties(program)).results[0].tolist() == [10.0, 10.0, 10.0]


async def test_requests_of_one_moment_are_one_message() -> None:
    async with dealing(Device(workers=2)) as (exchanges, _):
        party = Party(exchanges[1], 1, 2, Device())
        x = Mask("0.open/mask", (3,), (0, 1))
        requests = [Truncation(f"{place}.t/material", x, 20) for place in range(50)]
        operators = [party.operator(Label(f"{place}.t")) for place in range(50)]
        pairs = zip(operators, requests, strict=True)
        await exchanges[1].drained()  # its key
        before = exchanges[1].stats[2].messages_sent
        answers = await asyncio.gather(*(op.material(request) for op, request in pairs))
        assert exchanges[1].stats[2].messages_sent == before + 1
        assert len(answers) == 50
        party.leave()
        party.device.close()


async def test_answers_are_made_at_once_and_come_in_order() -> None:
    """The first waits until the second is made: one after the other they never would be."""

    both = asyncio.Barrier(2)

    class Meeting(Device):
        async def run(self, work: int, kernel: Any, *args: Any, **kwargs: Any) -> Any:
            await both.wait()
            return kernel(*args, **kwargs)

    async with dealing(Meeting()) as (exchanges, _):
        encoded = [
            msgspec.json.encode(truncation((2,), label=f"{place}.t/material")) for place in range(2)
        ]
        request(exchanges, 0, b",".join(encoded))
        for place in range(2):
            await exchanges[1].take(2, Label(f"{place}.t/material").tag)


@pytest.mark.parametrize("count", [0, MAX_REQUESTS + 1])
async def test_a_message_with_too_few_or_too_many_requests(count: int) -> None:
    async with dealing(IdleDevice()) as (exchanges, dealer):
        one = msgspec.json.encode(truncation((2,)))
        encoded = b"[" + b",".join([one] * count) + b"]"
        exchanges[-2].post(2, Label("requests/0").tag, encoded, offline=True)
        with pytest.raises(RequestError, match="malformed"):
            await dealer
