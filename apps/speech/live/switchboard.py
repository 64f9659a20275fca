"""The speakers' party: several people speak at once, and each reads their own text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from apps.speech.config import SpeechConfig
from apps.speech.decoding import GreedyDecoder
from apps.speech.live.capture import Block, Turn, capture
from apps.speech.live.feed import Chunk, Feed, Utterance
from apps.speech.live.meter import Meter
from apps.speech.live.steps import MAX_STREAMS, Guests, Step, take_steps, warm_up
from apps.speech.live.voice import VoiceGate
from apps.speech.prompt_model import shrinkage
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = ["Heard", "Pace", "Refusal", "Switchboard", "listen"]

_BROKE = "the link to the other organizations broke; what is said next is heard once it is back"
_DRAIN_S = 10.0  # for an utterance that goes on when the session is to end


class Refusal(AppError):
    """What somebody says is not transcribed; the text tells them why, and nothing of the inside."""


@dataclass(frozen=True)
class Pace:
    """How what is heard is cut.

    Attributes:
        chunk_s, widest_s: seconds of a chunk while all goes well, and at most.
        in_flight: chunks of one speaker under way at most.
    """

    chunk_s: float = 0.4
    widest_s: float = 1.6
    in_flight: int = 6


@dataclass(frozen=True, eq=False, repr=False)
class Heard:
    """What one utterance says so far.

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


@dataclass(eq=False, repr=False)
class _Flight:
    """A chunk or an end that is under way."""

    utterance: Utterance
    chunk: Chunk | None
    revealed: asyncio.Future[Tensor] | None
    begun_s: float = 0.0  # processor time of this process when the chunk was full


@dataclass(eq=False, repr=False)
class _Said:
    """The decoder's state for the utterance at hand."""

    decoder: GreedyDecoder
    frames: int = 0  # of the features
    outputs: int = 0


@dataclass(eq=False, repr=False)
class _Line:
    """One speaker."""

    feed: Feed
    flights: asyncio.Queue[_Flight | None]
    opened: Chunk | None = None


class Switchboard:
    """Takes speakers' streams together into one program; `take_steps` asks it what comes next.

    Args:
        model: its weights hidden by `Session.private`.
        owner: the name or rank of the party that this runs at.

    Attributes:
        closed: whether nobody else may begin to speak.
    """

    def __init__(
        self,
        session: Session,
        model: nn.Module,
        config: SpeechConfig,
        *,
        owner: str | int,
        pace: Pace | None = None,
    ) -> None:
        self._session, self._model, self._config = session, model, config
        self._owner, self._pace = owner, pace or Pace()
        self._lines: dict[int, _Line] = {}  # the one that was served last comes last
        self._changed = asyncio.Event()
        self._warm = asyncio.Event()
        self.closed = False
        self._guests: Guests | None = None
        self._draining = asyncio.Event()
        self._cut_at = 0.0  # what still goes on then is cut, if this drains
        self._lost = asyncio.Event()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """This party's part of the program, until `close`; speakers come and go meanwhile.

        Args:
            ready: is told when all parties are warm.
        """
        frames = self._feed(0).chunk_frames
        await warm_up(self._session, self._model, self._config, frames, owner=self._owner)
        self._warm.set()
        ready()
        all_ = self._session, self._model, self._config, self
        await take_steps(*all_, owner=self._owner, guests=self._guests)

    def host(self, guests: Guests) -> Callable[[], None]:
        """People who are no party are served as well, from before `run` on.

        Returns:
            What is to be called when there may be a step to take for them.
        """
        self._guests = guests
        return self._changed.set

    async def transcribe(
        self,
        blocks: AsyncIterator[Block],
        tell: Callable[[Heard, Meter], None],
        *,
        gate: VoiceGate | None = None,
        turn: Turn | None = None,
    ) -> Meter:
        """One speaker's stream, until the blocks end; returns when its last text was told.

        Everybody learns when an utterance begins and ends and how long each chunk is; this party
        learns the logits of each frame, and nobody else learns anything. Whatever ends it early,
        a connection that broke or a task that was cancelled, ends this stream alone. Before all
        parties are warm no block is asked for.

        Args:
            tell: is called with every change of the text.
            turn: is told when an utterance begins and when it ends.

        Raises:
            Refusal: too many speak already, or the session is over.
        """
        await self._warm.wait()
        number = next((n for n in range(MAX_STREAMS) if n not in self._lines), None)
        if number is None:
            raise Refusal(f"{MAX_STREAMS} speak already: try again later")
        if self.closed:
            raise Refusal("the session comes to its end: try again in a moment")
        line = self._lines[number] = _Line(self._feed(number), asyncio.Queue())
        meter = Meter()
        self._changed.set()
        try:
            async with (
                aclosing(self._heard_out(blocks, line.feed)) as heard,
                asyncio.TaskGroup() as tasks,
            ):
                tasks.create_task(capture(heard, self._config, line.feed, meter, gate, turn))
                reading = tasks.create_task(_read(line, self._config, meter, tell))
                losing = tasks.create_task(self._until_lost())
                reading.add_done_callback(lambda _: losing.cancel())
        except BaseExceptionGroup as group:
            if isinstance(group.exceptions[0], Refusal):
                self.lose()  # before anybody else comes to the session that broke
            raise group.exceptions[0] from None  # the others are its consequence
        finally:
            line.feed.abandon()  # of no effect after its end
        return meter

    def close(self) -> None:
        """The program ends when all who speak have ended."""
        self.closed = True
        if self._guests is not None:
            self._guests.stop()
        self._changed.set()

    def drain(self, within_s: float = _DRAIN_S) -> None:
        """The program ends when all utterances have that are under way; those who speak are told
        what they said until then, and what they say next is left to another session.

        Args:
            within_s: what lasts longer is cut, as if a pause came there.
        """
        self._cut_at = asyncio.get_running_loop().time() + within_s
        self._draining.set()
        self.close()

    def lose(self) -> None:
        """The session broke: all who speak are told so."""
        self.closed = True
        self._lost.set()

    async def _until_lost(self) -> None:
        await self._lost.wait()
        raise Refusal(_BROKE)

    async def _heard_out(
        self, blocks: AsyncIterator[Block], feed: Feed
    ) -> AsyncGenerator[Block, None]:
        """The blocks; when this drains no more of them than to the end of the utterance."""
        loop = asyncio.get_running_loop()
        draining = asyncio.ensure_future(self._draining.wait())
        coming = asyncio.ensure_future(anext(blocks, None))
        try:
            while not (draining.done() and (not feed.begun or loop.time() >= self._cut_at)):
                waited: set[asyncio.Future[Any]] = (
                    {coming} if draining.done() else {coming, draining}
                )
                left_s = self._cut_at - loop.time() if draining.done() else None
                await asyncio.wait(waited, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    block = coming.result()
                    if block is None:
                        return
                    yield block
                    coming = asyncio.ensure_future(anext(blocks, None))
        finally:
            for future in (coming, draining):
                future.cancel()
            await asyncio.gather(coming, draining, return_exceptions=True)

    # --- for the program --------------------------------------------------------------------------

    async def next_step(self) -> Step:
        """Whoever has waited longest comes first."""
        while True:
            for number, line in list(self._lines.items()):
                step = line.feed.ready()
                if step is not None:
                    del self._lines[number]
                    if step.kind != "stop":
                        self._lines[number] = line
                    else:
                        line.flights.put_nowait(None)
                    return step
            if self._guests is not None and (step := self._guests.next_step()) is not None:
                return step
            busy = self._guests is not None and self._guests.busy
            if self.closed and not self._lines and not busy:
                return Step("close")
            self._changed.clear()
            await self._changed.wait()

    def open(self, step: Step) -> asyncio.Future[Tensor]:
        """Opens the chunk of the stream whose turn it is."""
        line = self._lines[step.stream]
        line.opened = line.feed.open(step)
        return line.opened.slot

    def sent(self, step: Step, revealed: asyncio.Future[Tensor] | None) -> None:
        """Has the stream's reader wait for it."""
        line = self._lines[step.stream]
        chunk, line.opened = line.opened, None
        utterance = chunk.utterance if chunk is not None else line.feed.end()
        flight = _Flight(utterance, chunk, revealed)
        if chunk is not None:
            chunk.slot.add_done_callback(partial(_depart, flight))
        line.flights.put_nowait(flight)

    def _feed(self, number: int) -> Feed:
        config, pace = self._config, self._pace
        unit, second = shrinkage(config.layers), config.sample_rate / config.hop_length
        return Feed(
            number,
            config.num_features,
            changed=self._changed,
            chunk_frames=round(pace.chunk_s * second / unit) * unit,
            widest_frames=round(pace.widest_s * second / unit) * unit,
            in_flight=pace.in_flight,
            unit=unit,
            tail_frames=config.tail_frames,
        )


async def listen(
    session: Session,
    model: nn.Module,
    config: SpeechConfig,
    blocks: AsyncIterator[Block],
    tell: Callable[[Heard, Meter], None],
    *,
    owner: str | int,
    pace: Pace | None = None,
    gate: VoiceGate | None = None,
) -> Meter:
    """The part of the party with the sound, for one speaker; see `Switchboard`."""
    board = Switchboard(session, model, config, owner=owner, pace=pace)
    program = asyncio.ensure_future(board.run())
    speaker = asyncio.ensure_future(board.transcribe(blocks, tell, gate=gate))
    try:
        await asyncio.wait((program, speaker), return_when=asyncio.FIRST_COMPLETED)
        if speaker.done():  # whether its sound ended or broke, the program ends in order
            board.close()
        await program
        return speaker.result()
    finally:
        for task in (program, speaker):
            task.cancel()
        await asyncio.gather(program, speaker, return_exceptions=True)


def _depart(flight: _Flight, _: object) -> None:
    flight.begun_s = time.process_time()


async def _read(
    line: _Line, config: SpeechConfig, meter: Meter, tell: Callable[[Heard, Meter], None]
) -> None:
    """Reads the logits in the order in which they were sent."""
    loop = asyncio.get_running_loop()
    said = _Said(GreedyDecoder(config))
    while (flight := await line.flights.get()) is not None:
        chunk, utterance = flight.chunk, flight.utterance
        # Who reads may be cancelled, and what is waited for must not: the parties need it.
        if chunk is not None:
            await asyncio.wait((chunk.slot,))
        if flight.revealed is not None:
            await asyncio.wait((flight.revealed,))
        logits = _told(flight.revealed) if flight.revealed is not None else None
        revealed_at, used_s = loop.time(), time.process_time() - flight.begun_s
        if chunk is not None:
            line.feed.settled()
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
        utterance.captured.forget(shrinkage(config.layers) * said.outputs)
        if chunk is None:
            said = _Said(GreedyDecoder(config))


def _told(revealed: asyncio.Future[Tensor]) -> Tensor:
    """What was revealed.

    Raises:
        Refusal: the session broke; whoever runs the program says why.
    """
    error = None if revealed.cancelled() else revealed.exception()
    if revealed.cancelled() or error is not None:
        raise Refusal(_BROKE) from error
    return revealed.result()


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
