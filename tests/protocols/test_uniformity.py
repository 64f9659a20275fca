"""What the network sees is noise, new in every run, and no name serves two values."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from math import prod
from typing import Any

import pytest
import torch

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.label import Label
from protocols.party import Operator
from protocols.prg import Key, Purpose, Stream
from protocols.ring.bilinear import Convolution, Multiply
from protocols.ring.ring import RING, Ring
from protocols.suite import Suite
from tests.parties import PointSuite, run_parties
from tests.protocols.ringvalues import given

ELEMENTS = 2048
ZEROS = torch.zeros(1, 8, ELEMENTS // 8, dtype=torch.int64)
"""The least random of all inputs."""

WEIGHT = torch.zeros(8, 8, 3, dtype=torch.int64)


def network(session: Session) -> Any:
    """Every protocol of the suite, with weights of one party and the input of another."""
    suite = session.suite
    w = given(session, WEIGHT, owner=1)
    suite.prepare_operand(w)
    x = given(session, ZEROS, owner=0)
    z = suite.product(Convolution((1,), (1,), (1,)), x, w)
    hidden = suite.relu(z)
    square = suite.product(Multiply(), hidden, hidden)
    signs = suite.negative(suite.rescale(square))
    again = suite.product(Convolution((1,), (1,), (1,)), suite.rescale(z), w)
    again = suite.linear("add", lambda a, b: a + b, again, signs, shape=tuple(ZEROS.shape))
    chosen = suite.select(suite.steps(square, [-1.0, 2.0]), again)
    others = [
        suite.linear("first", lambda v: v[0], chosen, shape=tuple(ZEROS.shape)),
        suite.exponential(hidden, -4.0, 3.0),
        suite.waves(hidden, 1 << 40, torch.ones(3, 2, dtype=torch.float64)),
        suite.scaled(hidden, square, suite.scale_bits),
        suite.linear(
            "ladder",
            lambda v: v.sum(0),
            suite.indicator(suite.ladder(hidden, 10, 3, mirrored=True)),
            shape=tuple(ZEROS.shape),
        ),
        suite.sample(tuple(ZEROS.shape), "normal"),
        suite.linear("hot", lambda v: v.sum(0), suite.one_hot(hidden, 4), shape=tuple(ZEROS.shape)),
    ]
    total = again
    for other in others:
        total = suite.linear("add", torch.add, total, other, shape=tuple(ZEROS.shape))
    return total


CASES = pytest.mark.parametrize(
    ("n", "suite", "ring"),
    [
        (2, AdditiveSuite, RING),
        (3, AdditiveSuite, RING),
        (2, AdditiveSuite, Ring(48)),
        (2, PointSuite, RING),
        (2, PointSuite, Ring(48)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)


async def sent(n: int, suite: type[Suite], ring: Ring) -> list[dict[str, bytes]]:
    """All that each party sends to another one, by label and part."""

    async def program(session: Session) -> dict[str, bytes]:
        party = session.suite.party
        messages: dict[str, bytes] = {}
        tags: set[tuple[int, bytes]] = set()
        post, exchange_post = Operator.post, party.exchange.post

        def named(self: Operator, peers: Any, part: str, *tensors: Any, **more: Any) -> None:
            if self.party is party and part != "series":  # public coefficients
                raw = b"".join(t.contiguous().numpy().tobytes() for t in tensors)
                assert f"{self.label}/{part}" not in messages, "posted twice"
                messages[f"{self.label}/{part}"] = raw
            post(self, peers, part, *tensors, **more)

        def once(peer: int, tag: bytes, *payload: Any, **more: Any) -> None:
            assert (peer, tag) not in tags, "one tag for two messages"
            tags.add((peer, tag))
            exchange_post(peer, tag, *payload, **more)

        party.exchange.post = once  # type: ignore[method-assign]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Operator, "post", named)
            await session.reveal(session.wrap(network(session)))
            await session.barrier()
        return messages

    return (await run_parties(program, n, suite, ring=ring)).results


@CASES
async def test_messages_look_uniform(n: int, suite: type[Suite], ring: Ring) -> None:
    parts = set()
    for messages in await sent(n, suite, ring):
        for name, raw in messages.items():
            if len(raw) < 1024:
                continue
            parts.add(name.split("/")[-1])
            counts = torch.bincount(torch.tensor(list(raw)), minlength=256).double()
            expected = len(raw) / 256
            chi_square = ((counts - expected) ** 2 / expected).sum().item()
            assert chi_square < 430, name  # 255 in the mean, deviation 22.6
    handed = {"keys"} if suite is PointSuite else set()
    assert parts - {"sign"} == {"operand", "wire", "chunks", "share"} | handed


@CASES
async def test_two_runs_send_different_bytes(n: int, suite: type[Suite], ring: Ring) -> None:
    first, second = await sent(n, suite, ring), await sent(n, suite, ring)
    handed = {"keys"} if suite is PointSuite else set()
    for before, after in zip(first, second, strict=True):
        assert before.keys() == after.keys()
        parts = {"wire", "chunks", "sign", "share"}
        if before is first[1]:  # the owner of the weights, and the last of two parties
            parts |= {"operand"} | handed
        assert {name.split("/")[-1] for name in before} == parts
        for name in before:
            assert before[name] != after[name], name
            words = (memoryview(raw).cast("q") for raw in (before[name], after[name]))
            assert not any(a == b for a, b in zip(*words, strict=True)), name


@CASES
async def test_no_stream_serves_two_purposes(
    n: int, suite: type[Suite], ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under one key a label is always drawn from alike: by the party itself and by the dealer, and
    by every operator that needs the mask of a wire again."""
    draws: dict[tuple[bytes, str], list[list[Any]]] = defaultdict(list)
    drawing: dict[Stream, list[Any]] = {}
    stream, words, hidden, slices = Key.stream, Stream.words, Stream.hidden, Stream.slices

    def named(self: Key, label: Label, purpose: Purpose) -> Stream:
        made = stream(self, label, purpose)
        drawing[made] = []
        draws[self.reveal(), f"{purpose} {label.path}"].append(drawing[made])
        return made

    def recorded(self: Stream, shape: Any, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        drawing[self].append((prod(shape), dtype))
        return words(self, shape, dtype)

    def sliced(
        self: Stream, count: int, dtype: torch.dtype = torch.int64
    ) -> Iterator[torch.Tensor]:
        drawing[self].append((count, dtype))
        return slices(self, count, dtype)

    def hiding(self: Stream, value: torch.Tensor) -> torch.Tensor:
        drawing[self].append((value.numel(), value.dtype))
        return hidden(self, value)

    monkeypatch.setattr(Key, "stream", named)
    monkeypatch.setattr(Stream, "words", recorded)
    monkeypatch.setattr(Stream, "hidden", hiding)
    monkeypatch.setattr(Stream, "slices", sliced)

    async def program(session: Session) -> tuple[bytes, list[bytes]]:
        await session.reveal(session.wrap(network(session)))
        party = session.suite.party
        return party.key.reveal(), [key.reveal() for key in party.pairs.values()]

    outcome = await run_parties(program, n, suite, ring=ring)
    own_keys = {key for key, _ in outcome.results}
    pair_keys = {key for _, keys in outcome.results for key in keys}
    assert len(own_keys) == n
    assert len(pair_keys) == n * (n - 1) // 2
    kinds = defaultdict(set)
    for (key, named_as), times in draws.items():
        purpose, _, path = named_as.partition(" ")
        assert all(each == times[0] for each in times), path
        if purpose == "deal":
            kinds["request"].add(json.loads(path)["label"])
            assert key not in pair_keys
        elif purpose == "mask":
            assert re.fullmatch(r"\d+\.(open|operand)/mask|\{.*\}/root/[01]", path)
            kinds["mask"].add(path)
            assert key in own_keys
        elif purpose == "bits":
            assert re.fullmatch(r"\d+\.(compare|ladder)/bits", path)
            assert key not in own_keys | pair_keys  # the dealer's alone
        else:
            assert purpose == "zero"
            assert re.fullmatch(r"\d+\.reveal", path)
            assert key in pair_keys
            assert len(times) == 2  # at both ends
    requests = [path for _, path in draws if path.startswith("deal ")]
    assert len(kinds["request"]) == len(set(requests))  # one request to a label
    assert len(kinds["mask"]) >= 5
