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
    """A chunk or an end that is under way, and when what happened to it."""

    utterance: Utterance
    chunk: Chunk | None
    revealed: asyncio.Future[Tensor] | None
    processor_s: float = 0.0
    computed_at: float = 0.0


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
    in_flight: int = 4,
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
    await _steps(session, model, config, owner, None, None)


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
            if isinstance(logits, SecretTensor):
                logits.sharing.share.add_done_callback(partial(_arrive, flight))
            flights.put_nowait(flight)
        while pending and pending[0].done():
            await pending.popleft()
    for future in pending:
        await future


def _depart(flight: _Flight, _: object) -> None:
    flight.processor_s = time.process_time()


def _arrive(flight: _Flight, _: object) -> None:
    flight.computed_at = asyncio.get_running_loop().time()
    flight.processor_s = time.process_time() - flight.processor_s


async def _read(
    flights: asyncio.Queue[_Flight | None],
    config: SpeechConfig,
    feed: Feed,
    meter: Meter,
    tell: Callable[[Heard, Meter], None],
) -> None:
    """Reads the logits in the order in which they were sent."""
    said = _Said(GreedyDecoder(config))
    while (flight := await flights.get()) is not None:
        if flight.chunk is not None:
            await flight.chunk.slot
        logits = await flight.revealed if flight.revealed is not None else None
        revealed_at = asyncio.get_running_loop().time()
        if flight.chunk is not None:
            feed.settled()
            if flight.utterance.captured:
                _measure(meter, flight, flight.chunk, said, revealed_at)
            said.frames += flight.chunk.frames
        if logits is not None:
            said.decoder.push(logits[0])
            _date(meter, flight.utterance, said, logits.shape[2], config, revealed_at)
        if flight.utterance.captured:
            new = torch.zeros(len(config.alphabet), 0) if logits is None else logits[0]
            final, number = flight.chunk is None, flight.utterance.number
            tell(Heard(number, said.decoder.text, final, said.frames, new), meter)
        if flight.chunk is None:
            said = _Said(GreedyDecoder(config))


def _measure(meter: Meter, flight: _Flight, chunk: Chunk, said: _Said, revealed_at: float) -> None:
    captured = flight.utterance.captured
    first = min(said.frames, chunk.heard - 1)
    last = min(said.frames + chunk.frames, chunk.heard) - 1
    # A chunk that settles no output is done when it is there.
    landed = flight.computed_at > 0.0
    meter.chunk(
        frames=chunk.frames,
        captured=(captured[first], captured[last]),
        filled_at=chunk.filled_at,
        computed_at=flight.computed_at if landed else revealed_at,
        revealed_at=revealed_at,
        processor_s=flight.processor_s if landed else 0.0,
    )


def _date(
    meter: Meter,
    utterance: Utterance,
    said: _Said,
    outputs: int,
    config: SpeechConfig,
    revealed_at: float,
) -> None:
    """Tells the meter when the sound of these outputs was complete; silence at the end has none."""
    unit = shrinkage(config.layers)
    places = (unit * (said.outputs + i + 1) - 1 for i in range(outputs))
    captured = [utterance.captured[p] for p in places if p < len(utterance.captured)]
    said.outputs += outputs
    meter.frames(captured, revealed_at)
