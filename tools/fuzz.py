"""Feed spoiled conversations to the parsers of frames and greetings.

    python -m tools.fuzz --bytes 10000000 --seed 1
    python -m tools.fuzz --seed 1 --only 4711       the conversation that a failure names

What has to hold for each: only named errors, no more memory than the limits allow, an end, and the
same outcome however the stream is cut. A hang ends the process with a traceback.
"""

from __future__ import annotations

import argparse
import faulthandler
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeAlias

from rich.console import Console

from tools.fuzz_conversations import LIMITS, OURS, THEIR_NAME, mutated
from tools.fuzz_websocket import MessageFeed, wrapped
from transports.errors import FrameError, HandshakeError, IdentityError, LimitError, TagError
from transports.frame import HEADER_BYTES, Frame, Kind
from transports.handshake import check, claimed_rank, decode_hello, decode_resume, refusal_error
from transports.inbox import Inbox
from transports.reader import FrameReader
from transports.stats import LinkStats

__all__ = ["FuzzFailure", "Tally", "fuzz", "main"]

_NAMED: Final = (FrameError, HandshakeError, IdentityError, LimitError, TagError)
_PIECES: Final = (1, 7, 31, 32, 33, 500, 4096, 65_535, 65_536, 1 << 20)
_HEAP_BYTES: Final = LIMITS.max_buffered_bytes + 3 * LIMITS.max_frame_bytes  # for one conversation
_HELD_BYTES: Final = 10 * LIMITS.max_frame_bytes  # by one reader: eight blocks, rounded up
_IN_MESSAGES: Final = 0.25  # of the conversations come inside WebSocket messages
_HANG_S: Final = 30
_PROGRESS_S: Final = 2.0

Outcome: TypeAlias = tuple[list[tuple[int, int, int]], str]


class FuzzFailure(Exception):
    """A rule was broken; says how to see it again."""


@dataclass
class Tally:
    """What a run has come across."""

    conversations: int = 0
    mutated_bytes: int = 0
    frames: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    most_heap_bytes: int = 0
    most_held_bytes: int = 0
    slowest_s: float = 0.0


def fuzz(until_bytes: int, seed: int, tally: Tally | None = None, first: int = 0) -> Tally:
    """Runs conversations until that many mutated bytes were parsed.

    Raises:
        FuzzFailure: with the seed and the number of the conversation.
    """
    tally = tally or Tally()
    number = first
    started_here = not tracemalloc.is_tracing()
    if started_here:
        tracemalloc.start()
    try:
        while tally.mutated_bytes < until_bytes:
            _one(Random(f"{seed} {number}"), tally, f"--seed {seed} --only {number}")
            number += 1
    finally:
        if started_here:
            tracemalloc.stop()
    return tally


def _one(random: Random, tally: Tally, where: str) -> None:
    stream, spoiled = mutated(random)
    in_messages = random.random() < _IN_MESSAGES
    if in_messages:
        stream, more = wrapped(random, stream)
        spoiled = spoiled or more
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    began = time.perf_counter()
    try:
        first = _parse(random, stream, tally, random.randrange(4), in_messages)
        again = _parse(random, stream, tally, 0, in_messages)
    except _NAMED as error:  # each is caught where it belongs
        raise FuzzFailure(f"{where}: {error!r} escaped") from error
    except FuzzFailure as failure:
        raise FuzzFailure(f"{where}: {failure}") from None
    except Exception as error:
        raise FuzzFailure(f"{where}: {type(error).__name__}, which is no named error") from error
    if first != again:
        raise FuzzFailure(f"{where}: {first} in one way of cutting, {again} in another")
    if not spoiled and (first[1] or first[0][-1][0] not in (Kind.BYE, Kind.ABORT)):
        raise FuzzFailure(f"{where}: a valid conversation ended with {first[1]!r}")
    heap = tracemalloc.get_traced_memory()[1] - before
    if heap > _HEAP_BYTES:
        raise FuzzFailure(f"{where}: {heap} bytes of heap, {_HEAP_BYTES} allowed")
    tally.most_heap_bytes = max(tally.most_heap_bytes, heap)
    tally.slowest_s = max(tally.slowest_s, time.perf_counter() - began)
    tally.conversations += 1
    tally.mutated_bytes += len(stream) if spoiled else 0
    tally.frames += len(first[0])
    tally.errors[first[1].partition(":")[0] or "none"] += 1


def _parse(random: Random, stream: bytearray, tally: Tally, cut: int, in_messages: bool) -> Outcome:
    """Frames that came out (kind, sequence, size), and the error that ended it, if any.

    Args:
        cut: 0 for a stream in one piece, otherwise how random the sizes of pieces are.
        in_messages: the stream is one of WebSocket messages.
    """
    reader = FrameReader(LIMITS, "the peer")
    messages = MessageFeed(reader) if in_messages else None
    inbox = Inbox("b", LIMITS, LinkStats())
    seen: list[tuple[int, int, int]] = []
    rest = memoryview(stream)
    size = random.choice(_PIECES) if cut else len(stream) + 1
    greeted = False
    try:
        while rest:
            piece = rest[: size if cut < 2 else random.choice(_PIECES)]
            rest = rest[len(piece) :]
            while piece:
                left = (messages or reader).feed(piece)
                frames_before = len(seen)
                while True:
                    while (frame := reader.next(control_only=not greeted)) is not None:
                        seen.append((int(frame.kind), frame.sequence, frame.size_bytes))
                        greeted = _handle(frame, inbox) or greeted
                    if messages is None or not messages.reader.pump():
                        break
                if len(left) == len(piece) and len(seen) == frames_before:
                    raise FuzzFailure("the reader takes nothing and gives nothing")
                piece = left
                _check_memory(reader, tally)
    except _NAMED as error:
        return seen, f"{type(error).__name__}: {error}"
    if messages is not None and messages.reader.broken:
        return seen, f"WebSocket: {messages.reader.broken}"
    if len(seen) * HEADER_BYTES > len(stream):
        raise FuzzFailure(f"{len(seen)} frames out of {len(stream)} bytes")
    return seen, ""


def _handle(frame: Frame, inbox: Inbox) -> bool:
    """What a party does with a frame; True if it ends the greeting."""
    if frame.kind is Kind.HELLO:
        claimed_rank(frame.body)
        check(OURS, decode_hello(frame.body, OURS, "party b"), 1, THEIR_NAME)
    elif frame.kind is Kind.REFUSE:
        str(refusal_error(frame.body, "party b"))
    elif frame.kind is Kind.RESUME:
        decode_resume(frame.body, "party b")
    elif frame.kind is Kind.DATA:
        inbox.put(frame)
        for tag, _ in frame.messages[::2]:
            inbox.pop(tag)
    return frame.kind is Kind.ACCEPT


def _check_memory(reader: FrameReader, tally: Tally) -> None:
    held = reader.held_bytes
    if held > _HELD_BYTES:
        raise FuzzFailure(f"the reader holds {held} bytes, {_HELD_BYTES} allowed")
    tally.most_held_bytes = max(tally.most_held_bytes, held)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run; the exit code is 1 after a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bytes", type=int, default=10_000_000, help="mutated bytes to parse")
    parser.add_argument(
        "--seed", type=int, default=None, help="of everything; the time if left out"
    )
    parser.add_argument("--only", type=int, default=None, help="one conversation, by its number")
    asked = parser.parse_args(arguments)
    seed = int(time.time()) if asked.seed is None else asked.seed
    console = Console()
    tally = Tally()
    began = shown = time.monotonic()
    first = 0 if asked.only is None else asked.only
    step = 1 if asked.only is not None else 50_000
    try:
        while tally.mutated_bytes < (1 if asked.only is not None else asked.bytes):
            faulthandler.dump_traceback_later(_HANG_S, exit=True)
            fuzz(tally.mutated_bytes + step, seed, tally, first + tally.conversations)
            if asked.only is not None:
                break
            if time.monotonic() - shown > _PROGRESS_S:
                shown = time.monotonic()
                share = tally.mutated_bytes / asked.bytes
                console.print(f"{share:.0%}, {tally.conversations:,} conversations")
    except FuzzFailure as failure:
        console.print(f"FAILED: python -m tools.fuzz {failure}")
        raise SystemExit(1) from failure
    finally:
        faulthandler.cancel_dump_traceback_later()
    console.print(
        f"seed {seed}: {tally.mutated_bytes:,} mutated bytes in {tally.conversations:,} "
        f"conversations, {tally.frames:,} frames parsed, {time.monotonic() - began:.1f} s; "
        f"at most {tally.most_heap_bytes:,} bytes of heap for one, {tally.most_held_bytes:,} in a "
        f"reader, {tally.slowest_s * 1000:.0f} ms; ended by {dict(tally.errors.most_common())}"
    )


if __name__ == "__main__":
    main()
