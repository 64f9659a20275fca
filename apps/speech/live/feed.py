"""What somebody says, cut into the chunks that the parties expect: at the speaker alone.

All parties run the same program, so each chunk's length is announced before the chunk is there.
One chunk is open at a time: announced, its correlated randomness under way, waiting for sound. Once
it is full the next one is announced. When chunks are under way to the limit, nothing is announced
until one is back; what is heard meanwhile makes the next chunk wider, for less work a frame, and no
queue of chunks can grow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apps.speech.live.steps import MAX_CHUNK_FRAMES, Step

__all__ = ["Chunk", "Feed", "Moments", "Utterance"]

_MOST_CHUNKS = 4  # of the widest, that may wait


class Moments:
    """When each frame was heard; what nobody asks for any more is forgotten.

    So somebody may speak for an hour without a pause.
    """

    def __init__(self) -> None:
        self._kept: deque[float] = deque()
        self._forgotten = 0

    def __len__(self) -> int:
        """How many frames there were."""
        return self._forgotten + len(self._kept)

    def __getitem__(self, place: int) -> float:
        if place < self._forgotten:
            raise IndexError(f"frame {place} was forgotten")
        return self._kept[place - self._forgotten]

    def extend(self, moments: Sequence[float]) -> None:
        """More frames."""
        self._kept.extend(moments)

    def forget(self, place: int) -> None:
        """Forgets those before this one, but never the last."""
        while self._forgotten < place and len(self._kept) > 1:
            self._kept.popleft()
            self._forgotten += 1


@dataclass(eq=False, repr=False)
class Utterance:
    """What is said between two ends, while it waits to be sent.

    Attributes:
        number: from 0 on.
        captured: when the sound of each feature frame was complete, in seconds of the loop's clock.
        ended: whether no more will come.
        waiting: frames (num_features, n) that are in no chunk yet.
    """

    number: int
    captured: Moments = field(default_factory=Moments)
    ended: bool = False
    waiting: deque[Tensor] = field(default_factory=deque)

    @property
    def backlog(self) -> int:
        """Frames that wait."""
        return sum(each.shape[1] for each in self.waiting)


@dataclass(eq=False, repr=False)
class Chunk:
    """Frames of one utterance that travel together.

    Attributes:
        frames: in it, silence at the end included.
        slot: what `Session.share` waits for, (1, num_features, frames).
        heard: how many of the utterance's frames were captured when it was full.
        filled_at: when that was.
    """

    utterance: Utterance
    frames: int
    slot: asyncio.Future[Tensor]
    heard: int = 0
    filled_at: float = 0.0


class Feed:
    """Takes frames of one stream as they come, and says what the parties do next with it.

    Args:
        number: of the stream.
        changed: is set when `ready` may say something else.
        num_features: of a frame.
        chunk_frames: of a chunk while all goes well.
        widest_frames: of a chunk at most; a multiple of `unit`.
        in_flight: chunks that may be under way.
        unit: feature frames to an output frame; a chunk is a multiple of it.
        tail_frames: silence behind every utterance, for what the network names late.

    Attributes:
        number: the same.
        chunk_frames: the same, a multiple of `unit`.
    """

    def __init__(
        self,
        number: int,
        num_features: int,
        *,
        changed: asyncio.Event,
        chunk_frames: int,
        widest_frames: int,
        in_flight: int,
        unit: int,
        tail_frames: int,
    ) -> None:
        if not unit <= chunk_frames <= widest_frames <= MAX_CHUNK_FRAMES or in_flight < 1:
            raise ValueError(
                f"a chunk has {unit} to {MAX_CHUNK_FRAMES} frames, the widest no fewer than the "
                f"others, and at least one is under way"
            )
        self.number = number
        self._num_features = num_features
        self._unit = unit
        self.chunk_frames, self._widest_frames = self._whole(chunk_frames), widest_frames
        self._most_in_flight = in_flight
        self._tail = torch.zeros(num_features, tail_frames)
        self._utterances = deque([Utterance(0)])
        self._open: Chunk | None = None
        self._in_flight = 0
        self._closed = False
        self._changed = changed
        self._taken = asyncio.Event()

    @property
    def utterance(self) -> int:
        """The number of the utterance that the next frames belong to."""
        return self._utterances[-1].number

    @property
    def begun(self) -> bool:
        """Whether that one has frames already."""
        return bool(self._utterances[-1].captured)

    # --- for what hears ---------------------------------------------------------------------------

    def put(self, features: Tensor, captured: Sequence[float]) -> None:
        """More frames (num_features, n) of the utterance, and when the sound of each was heard."""
        if self._closed:
            raise ValueError("the feed is closed")
        utterance = self._utterances[-1]
        utterance.waiting.append(features)
        utterance.captured.extend(captured)
        self._fill()

    async def room(self) -> None:
        """Waits while far too much waits: for sound that comes faster than anybody speaks."""
        while sum(each.backlog for each in self._utterances) > _MOST_CHUNKS * self._widest_frames:
            self._taken.clear()
            await self._taken.wait()

    def end_utterance(self) -> None:
        """What comes next is another utterance. Without a frame since the last end, nothing."""
        utterance = self._utterances[-1]
        if utterance.captured:
            utterance.waiting.append(self._tail)
            utterance.ended = True
            self._utterances.append(Utterance(utterance.number + 1))
            self._fill()
            self._changed.set()

    def close(self) -> None:
        """Nothing more comes; ends the utterance."""
        self.end_utterance()
        self._closed = True
        self._fill()
        self._changed.set()

    def abandon(self) -> None:
        """Nobody listens any more: what waits is dropped, and the stream ends where it is."""
        self._closed = True
        for utterance in self._utterances:
            utterance.waiting.clear()
        self._fill()
        self._utterances = deque([Utterance(0)])
        self._changed.set()

    # --- for the program --------------------------------------------------------------------------

    def ready(self) -> Step | None:
        """What all parties do next; None while that is not clear."""
        if self._open is not None:
            return None
        first = self._utterances[0]
        if first.ended and not first.backlog:
            return Step("end", self.number)
        if self._closed and len(self._utterances) == 1:
            return Step("stop", self.number)
        if self._in_flight < self._most_in_flight:
            return Step("chunk", self.number, self._width(first))
        return None

    def open(self, step: Step) -> Chunk:
        """The chunk that was announced; its slot is filled once its frames are there."""
        slot = asyncio.get_running_loop().create_future()
        chunk = self._open = Chunk(self._utterances[0], step.frames, slot)
        self._fill()
        return chunk

    def end(self) -> Utterance:
        """The utterance whose end was announced."""
        return self._utterances.popleft()

    def settled(self) -> None:
        """A chunk is back."""
        self._in_flight -= 1
        self._changed.set()

    def _width(self, utterance: Utterance) -> int:
        if utterance.ended:
            return min(self._whole(utterance.backlog), self._widest_frames)
        # Rounded down: what is there must not wait for sound that may be long in coming.
        there = utterance.backlog // self._unit * self._unit
        return min(max(there, self.chunk_frames), self._widest_frames)

    def _whole(self, frames: int) -> int:
        return -(-frames // self._unit) * self._unit

    def _fill(self) -> None:
        """Gives the open chunk its frames, if there are enough of them or no more will come."""
        chunk = self._open
        if chunk is None:
            return
        utterance = chunk.utterance
        if utterance.backlog < chunk.frames and not (utterance.ended or self._closed):
            return
        whole = torch.zeros(self._num_features, chunk.frames)  # zero is silence
        taken = 0
        while utterance.waiting and taken < chunk.frames:
            piece = utterance.waiting.popleft()
            fitting = min(piece.shape[1], chunk.frames - taken)
            whole[:, taken : taken + fitting] = piece[:, :fitting]
            taken += fitting
            if fitting < piece.shape[1]:
                utterance.waiting.appendleft(piece[:, fitting:])
        chunk.heard = len(utterance.captured)
        chunk.filled_at = asyncio.get_running_loop().time()
        chunk.slot.set_result(whole.unsqueeze(0))
        self._open = None
        self._in_flight += 1
        self._taken.set()
        self._changed.set()
