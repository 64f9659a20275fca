"""Live private speech: one party speaks and reads the text, another owns the model."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from apps.speech.config import SpeechConfig
from apps.speech.decoding import GreedyDecoder
from apps.speech.live.capture import Block, capture
from apps.speech.live.feed import Chunk, Feed, Step, Utterance
from apps.speech.live.meter import Meter
from apps.speech.live.voice import VoiceGate
from apps.speech.prompt_model import shrinkage
from apps.speech.streaming import NetworkStream
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor

__all__ = ["Heard", "follow", "listen"]


@dataclass(frozen=True, eq=False)
class Heard:
    """What one utterance says so far, at the speaker.

    Attributes:
        utterance: its number, from 0 on.
        text: of all logits so far.
        final: whether it is over.
        frames: feature frames sent so far, with the silence behind them.
        logits: (num_classes, n), those that came with this.
    """

    utterance: int
    text: str
    final: bool
    frames: int
    logits: Tensor


@dataclass(eq=False)
class _Flight:
    """A chunk or an end that is under way."""

    utterance: Utterance
    chunk: Chunk | None
    revealed: asyncio.Future[Tensor] | None
    begun_s: float = 0.0  # processor time of this process when the chunk was full


@dataclass(eq=False)
class _Said:
    """The decoder's state for the utterance at hand."""

    decoder: GreedyDecoder
    frames: int = 0  # of the features
    outputs: int = 0


async def listen(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    blocks: AsyncIterator[Block],
    tell: Callable[[Heard, Meter], None],
    *,
    owner: str | int,
    chunk_s: float = 0.4,
    widest_s: float = 1.6,
    in_flight: int = 6,
    gate: VoiceGate | None = None,
) -> Meter:
    """The speaker's part, until the blocks end.

    Who learns what: all parties learn when an utterance begins and ends and how long each chunk is.
    The speaker learns the logits of each frame, and nobody else learns anything.

    Args:
        model: its weights hidden by `Session.private`.
        tell: is called with every change of the text.
        owner: the speaker's name or rank.
        chunk_s, widest_s: seconds of a chunk while all goes well, and at most.
        in_flight: chunks under way at most.
    """
    unit, second = shrinkage(config.layers), config.sample_rate / config.hop_length
    feed = Feed(
        config.num_features,
        chunk_frames=round(chunk_s * second / unit) * unit,
        widest_frames=round(widest_s * second / unit) * unit,
        in_flight=in_flight,
        unit=unit,
        tail_frames=config.tail_frames,
    )
    meter, flights = Meter(), asyncio.Queue[_Flight | None]()
    await _warm_up(session, model, config, owner, feed.chunk_frames)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(capture(blocks, config, feed, meter, gate))
            tasks.create_task(_read(flights, config, feed, meter, tell))
            await _steps(session, model, config, owner, feed, flights)
            flights.put_nowait(None)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None  # the others are its consequence
    return meter


async def follow(
    session: Session, model: nn.Module, config: SpeechConfig, *, owner: str | int
) -> None:
    """The part of everybody else."""
    await _warm_up(session, model, config, owner, None)
    await _steps(session, model, config, owner, None, None)


async def _warm_up(
    session: Session, model: nn.Module, config: SpeechConfig, owner: str | int, frames: int | None
) -> None:
    """Two chunks of silence and an end.

    What a process does only once, it does before somebody waits for it.
    """
    wanted = Step("chunk", frames) if frames is not None else None
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


async def _steps(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    owner: str | int,
    feed: Feed | None,
    flights: asyncio.Queue[_Flight | None] | None,
) -> None:
    """The program of all parties: as the speaker announces, step after step."""
    stream: NetworkStream | None = None
    pending: deque[asyncio.Future[Tensor]] = deque()
    while True:
        wanted = await feed.next_step() if feed is not None else None
        step = await session.announce(wanted, owner=owner, type=Step)
        if step.kind == "stop":
            break
        chunk = feed.open(step) if feed is not None and step.kind == "chunk" else None
        stream = stream or NetworkStream(model)
        with torch.no_grad():
            if step.kind == "chunk":
                shape = (1, config.num_features, step.frames)
                slot = chunk.slot if chunk is not None else None
                logits = stream.push(session.share(slot, owner=owner, shape=shape))
            else:
                logits, stream = stream.flush(), None
        revealed = None
        if isinstance(logits, SecretTensor):
            revealed = logits.reveal(to=owner)
            pending.append(revealed)
        if feed is not None and flights is not None:
            utterance = chunk.utterance if chunk is not None else feed.end()
            flight = _Flight(utterance, chunk, revealed)
            if chunk is not None:
                chunk.slot.add_done_callback(partial(_depart, flight))
            flights.put_nowait(flight)
        while pending and pending[0].done():
            await pending.popleft()
    for future in pending:
        await future


def _depart(flight: _Flight, _: object) -> None:
    flight.begun_s = time.process_time()


async def _read(
    flights: asyncio.Queue[_Flight | None],
    config: SpeechConfig,
    feed: Feed,
    meter: Meter,
    tell: Callable[[Heard, Meter], None],
) -> None:
    """Reads the logits in the order in which they were sent."""
    loop = asyncio.get_running_loop()
    said = _Said(GreedyDecoder(config))
    while (flight := await flights.get()) is not None:
        chunk, utterance = flight.chunk, flight.utterance
        if chunk is not None:
            await chunk.slot
        logits = await flight.revealed if flight.revealed is not None else None
        revealed_at, used_s = loop.time(), time.process_time() - flight.begun_s
        if chunk is not None:
            feed.settled()
            said.frames += chunk.frames
        if logits is not None:
            said.decoder.push(logits[0])
            meter.frames(_captured(utterance, said, logits.shape[2], config), revealed_at)
        if utterance.captured:
            new = torch.zeros(len(config.alphabet), 0) if logits is None else logits[0]
            text, final = said.decoder.text, chunk is None
            tell(Heard(utterance.number, text, final, said.frames, new), meter)
            if chunk is not None:
                _measure(meter, chunk, said, revealed_at, used_s)
        if chunk is None:
            said = _Said(GreedyDecoder(config))


def _measure(
    meter: Meter, chunk: Chunk, said: _Said, revealed_at: float, processor_s: float
) -> None:
    captured = chunk.utterance.captured
    first = min(said.frames - chunk.frames, chunk.heard - 1)
    last = min(said.frames, chunk.heard) - 1
    meter.chunk(
        frames=chunk.frames,
        captured=(captured[first], captured[last]),
        filled_at=chunk.filled_at,
        revealed_at=revealed_at,
        read_at=asyncio.get_running_loop().time(),
        processor_s=processor_s,
    )


def _captured(utterance: Utterance, said: _Said, outputs: int, config: SpeechConfig) -> list[float]:
    """When the sound of the next outputs was complete; silence at the end is nobody's sound."""
    unit = shrinkage(config.layers)
    places = [unit * (said.outputs + i + 1) - 1 for i in range(outputs)]
    said.outputs += outputs
    return [utterance.captured[place] for place in places if place < len(utterance.captured)]
