"""The program of all parties: step after step, as the speakers' party announces."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Annotated, Literal, Protocol

import msgspec
import torch
from torch import Tensor, nn

from apps.speech.config import SpeechConfig
from apps.speech.streaming import NetworkStream
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor

__all__ = ["MAX_CHUNK_FRAMES", "MAX_STREAMS", "Speakers", "Step", "take_steps", "warm_up"]

MAX_CHUNK_FRAMES = 1 << 12  # of a chunk that a party accepts: 41 s at 10 ms a frame
MAX_STREAMS = 256  # at a time


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What all parties do next.

    Attributes:
        kind: "chunk", "end" of an utterance, "stop" of a stream, or "close" for all of it.
        stream: one speaker's.
        frames: of the chunk; 0 with the other kinds.
    """

    kind: Literal["chunk", "end", "stop", "close"]
    stream: Annotated[int, msgspec.Meta(ge=0, lt=MAX_STREAMS)] = 0
    frames: Annotated[int, msgspec.Meta(ge=0, le=MAX_CHUNK_FRAMES)] = 0

    def __post_init__(self) -> None:
        if (self.kind == "chunk") != (self.frames > 0):
            raise ValueError("a chunk has frames, and nothing else has any")


class Speakers(Protocol):
    """The party with the sound, as the program sees it."""

    async def next_step(self) -> Step:
        """Waits until it is clear what all parties do next."""

    def open(self, step: Step) -> asyncio.Future[Tensor]:
        """Where the frames (1, num_features, frames) of the announced chunk will be."""

    def sent(self, step: Step, revealed: asyncio.Future[Tensor] | None) -> None:
        """A chunk or an end is under way; its logits will be there, if any are settled by it."""


async def take_steps(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    speakers: Speakers | None,
    *,
    owner: str | int,
) -> None:
    """Returns once all is closed.

    Chunks of all streams are under way together and share rounds, since operators on secrets
    return at once.

    Args:
        model: its weights hidden by `Session.private`.
        speakers: at `owner`; None at others.
    """
    streams: dict[int, NetworkStream] = {}
    pending: deque[asyncio.Future[Tensor]] = deque()
    while True:
        wanted = await speakers.next_step() if speakers is not None else None
        step = await session.announce(wanted, owner=owner, type=Step)
        if step.kind == "close":
            break
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
        while pending and pending[0].done():
            await pending.popleft()
    for future in pending:
        await future


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
