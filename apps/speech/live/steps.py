"""The program of all parties: step after step, as the speakers' party announces."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, Protocol

import msgspec
import torch
from torch import Tensor, nn

from apps.speech.config import SpeechConfig
from apps.speech.streaming import NetworkStream
from mpcnet.errors import Divergence
from mpcnet.outside import OutsideShare
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor

__all__ = [
    "MAX_CHUNK_FRAMES",
    "MAX_STREAMS",
    "Guests",
    "Speakers",
    "Step",
    "follow",
    "take_steps",
    "warm_up",
]

MAX_CHUNK_FRAMES = 1 << 12  # of a chunk that a party accepts: 41 s at 10 ms a frame
MAX_STREAMS = 256  # at a time


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What all parties do next.

    Attributes:
        kind: "chunk", "end" of an utterance, "stop" of a stream, or "close" for all of it; of a
            guest "join" before all others.
        stream: one speaker's.
        frames: of the chunk; 0 with the other kinds.
        guest: whose stream it is, if it is nobody's of the parties: who gave each party its own
            share of the chunk.
    """

    kind: Literal["chunk", "end", "stop", "close", "join"]
    stream: Annotated[int, msgspec.Meta(ge=0, lt=MAX_STREAMS)] = 0
    frames: Annotated[int, msgspec.Meta(ge=0, le=MAX_CHUNK_FRAMES)] = 0
    guest: Annotated[str, msgspec.Meta(pattern=r"^(|[0-9a-f]{32})$")] = ""

    def __post_init__(self) -> None:
        if (self.kind == "chunk") != (self.frames > 0):
            raise ValueError("a chunk has frames, and nothing else has any")
        if (self.kind == "join" and not self.guest) or (self.kind == "close" and self.guest):
            raise ValueError("who joins is a guest, and no guest closes the line")


class Speakers(Protocol):
    """The party with the sound, as the program sees it."""

    async def next_step(self) -> Step:
        """Waits until it is clear what all parties do next."""

    def open(self, step: Step) -> asyncio.Future[Tensor]:
        """Where the frames (1, num_features, frames) of the announced chunk will be."""

    def sent(self, step: Step, revealed: asyncio.Future[Tensor] | None) -> None:
        """A chunk or an end is under way; its logits will be there, if any are settled by it."""


class Guests(Protocol):
    """People who are no party and gave each party its share themselves, as one party sees them.

    Attributes:
        busy: whether any are here.
    """

    @property
    def busy(self) -> bool: ...

    def stop(self) -> None:
        """They shall finish what they say, and leave."""

    def next_step(self) -> Step | None:
        """What all parties do next for one of them; asked at the party that announces the steps."""

    def here(self, guest: str) -> bool:
        """Whether this party has a connection to the guest."""

    def joined(self, guest: str, everywhere: bool) -> None:
        """All parties have said whether they have one."""

    def share(self, step: Step) -> Awaitable[bytes]:
        """This party's share of the announced chunk, (1, num_features, frames)."""

    def answer(self, step: Step, share: asyncio.Future[OutsideShare] | None, frames: int) -> None:
        """This party's share of what a chunk or an end settled, if it did: that many frames."""

    def left(self, guest: str) -> None:
        """The guest's stream is over."""


async def take_steps(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    speakers: Speakers | None,
    *,
    owner: str | int,
    guests: Guests | None = None,
) -> None:
    """Returns once all is closed.

    Chunks of all streams are under way together and share rounds, since operators on secrets
    return at once.

    Args:
        model: its weights hidden by `Session.private`.
        speakers: at `owner`; None at others.
        guests: of this party; without them nobody joins who is no party.
    """
    streams: dict[int, NetworkStream] = {}
    visits: dict[str, NetworkStream] = {}
    pending: deque[asyncio.Future[Tensor] | asyncio.Future[OutsideShare]] = deque()
    while True:
        while pending and pending[0].done():
            await pending.popleft()
        wanted = await speakers.next_step() if speakers is not None else None
        step = await session.announce(wanted, owner=owner, type=Step)
        if step.kind == "close":
            break
        if step.guest:
            answer = await _serve(session, model, config, step, visits, guests)
            if answer is not None:
                pending.append(answer)
            continue
        stream = streams.pop(step.stream, None)
        if step.kind == "stop":
            continue
        stream = stream or NetworkStream(model)
        slot = speakers.open(step) if speakers is not None and step.kind == "chunk" else None
        with torch.no_grad():
            if step.kind == "chunk":
                shape = (1, config.num_features, step.frames)
                logits = stream.push(session.share(slot, owner=owner, shape=shape))
                streams[step.stream] = stream
            else:
                logits = stream.flush()
        revealed = logits.reveal(to=owner) if isinstance(logits, SecretTensor) else None
        if revealed is not None:
            pending.append(revealed)
        if speakers is not None:
            speakers.sent(step, revealed)
    for future in pending:
        await future


async def _serve(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    step: Step,
    visits: dict[str, NetworkStream],
    guests: Guests | None,
) -> asyncio.Future[OutsideShare] | None:
    """One step of somebody who is no party; the answer that is under way, if there is one.

    Everybody learns when an utterance begins and ends, and how long each chunk is; the guest alone
    learns the logits, and no party anything else.
    """
    guest = step.guest
    if step.kind == "join":
        mine = guests is not None and guests.here(guest)
        there = [
            await session.announce(mine, owner=rank, type=bool)
            for rank in range(len(session.names))
        ]
        if all(there):
            visits[guest] = NetworkStream(model)
        if guests is not None:
            guests.joined(guest, all(there))
        return None
    stream = visits.pop(guest, None)
    if guests is None or stream is None:
        # No AppError: that would end this party's server, for something that another one did.
        raise Divergence(("the leading party announced a guest whom not all parties have",))
    if step.kind == "stop":
        guests.left(guest)
        return None
    with torch.no_grad():
        if step.kind == "chunk":
            shape = (1, config.num_features, step.frames)
            logits = stream.push(session.from_outside(guests.share(step), shape=shape))
        else:
            logits = stream.flush()
    visits[guest] = stream if step.kind == "chunk" else NetworkStream(model)
    if not isinstance(logits, SecretTensor):
        guests.answer(step, None, 0)
        return None
    answer = logits.to_outside()
    guests.answer(step, answer, logits.shape[2])
    return answer


async def warm_up(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    frames: int | None,
    *,
    owner: str | int,
) -> None:
    """Two chunks of silence and an end: what a process does only once, nobody need wait for later.

    Args:
        frames: of a chunk, at `owner`; None at others.
    """
    wanted = Step("chunk", frames=frames) if frames is not None else None
    step = await session.announce(wanted, owner=owner, type=Step)
    shape = (1, config.num_features, step.frames)
    silence = torch.zeros(shape) if frames is not None else None
    stream = NetworkStream(model)
    with torch.no_grad():
        pieces = [stream.push(session.share(silence, owner=owner, shape=shape)) for _ in range(2)]
        pieces.append(stream.flush())
    revealed = [y.reveal(to=owner) for y in pieces if isinstance(y, SecretTensor)]
    for logits in revealed:
        await logits
    await session.barrier()


async def follow(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    *,
    owner: str | int,
    guests: Guests | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """The part of everybody else; `ready` is told when all parties are warm."""
    await warm_up(session, model, config, None, owner=owner)
    ready()
    await take_steps(session, model, config, None, owner=owner, guests=guests)
