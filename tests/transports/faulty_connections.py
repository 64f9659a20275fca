"""Connections that break one promise each, around others that keep all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from transports.base import Connection
from transports.errors import ConnectionClosed, FrameError
from transports.frame import Buffer, Frame, Kind, Message

__all__ = ["CONNECTION_FAULTS", "STREAM_FAULTS", "Sound"]

NUMBER = slice(24, 32)  # of a frame's header: its sequence number


class Sound(Connection):
    """Passes everything on as it should; the others differ in one place."""

    def __init__(self, inner: Connection) -> None:
        super().__init__(inner.label, inner.limits)
        self.inner = inner
        self.stats = inner.stats
        self.peer_certificate = inner.peer_certificate

    @property
    def last_heard(self) -> float:
        return self.inner.last_heard

    @last_heard.setter
    def last_heard(self, when: float) -> None:
        if hasattr(self, "inner"):
            self.inner.last_heard = when

    async def send(self, parts: Sequence[Buffer]) -> None:
        await self.inner.send(parts)

    async def receive(self) -> Frame:
        self.inner.control_only = self.control_only
        return await self.inner.receive()

    async def close(self) -> None:
        await self.inner.close()

    def abort(self) -> None:
        self.inner.abort()


async def forever() -> None:
    await asyncio.Event().wait()


class DropsAByte(Sound):
    """One byte of a frame's payloads is lost; nothing else."""

    async def send(self, parts: Sequence[Buffer]) -> None:
        frame = b"".join(parts)
        await self.inner.send([frame[:-1] if len(frame) == 32 + 3 * 32 + 8 + 8 + 8 else frame])


class ChangesAByte(Sound):
    """One bit of a payload is another."""

    async def send(self, parts: Sequence[Buffer]) -> None:
        frame = bytearray().join(parts)
        if frame[NUMBER] == (7).to_bytes(8, "little"):
            frame[32 + 3 * 32] ^= 1
        await self.inner.send([frame])


class Reorders(Sound):
    """Of each two frames that are sent at once, the second goes first."""

    kept: list[Buffer] | None = None

    async def send(self, parts: Sequence[Buffer]) -> None:
        if self.kept is None:
            self.kept = list(parts)
            asyncio.get_running_loop().call_later(0.02, lambda: asyncio.create_task(self.let_go()))
        else:
            await self.inner.send(parts)
            await self.let_go()

    async def let_go(self) -> None:
        kept, self.kept = self.kept, None
        if kept is not None:
            await self.inner.send(kept)


class TellsNoEnd(Sound):
    """The end of the stream passes for silence."""

    async def receive(self) -> Frame:
        try:
            return await super().receive()
        except ConnectionClosed:
            await forever()
            raise


class HoldsNobodyBack(Sound):
    """Takes whatever is sent, however slowly the other side reads."""

    def __init__(self, inner: Connection) -> None:
        super().__init__(inner)
        self.taken: asyncio.Queue[list[Buffer]] = asyncio.Queue()
        self.passing = asyncio.create_task(self.pass_on())

    async def send(self, parts: Sequence[Buffer]) -> None:
        if self.passing.done():
            raise ConnectionClosed("closed")
        self.taken.put_nowait(list(parts))
        await asyncio.sleep(0)

    async def pass_on(self) -> None:
        while True:
            try:
                await self.inner.send(await self.taken.get())
            except ConnectionClosed:
                return

    async def close(self) -> None:
        self.passing.cancel()
        await super().close()

    def abort(self) -> None:
        self.passing.cancel()
        super().abort()


class CountsNothing(Sound):
    def __init__(self, inner: Connection) -> None:
        super().__init__(inner)
        self.stats = type(inner.stats)()


class LosesTexts(Sound):
    """Control frames come without what they said."""

    async def receive(self) -> Frame:
        frame = await super().receive()
        return frame if frame.kind is Kind.DATA else msgspec.structs.replace(frame, body=b"")


class FewMessages(Sound):
    """A frame has room for a thousand messages."""

    async def receive(self) -> Frame:
        frame = await super().receive()
        return msgspec.structs.replace(frame, messages=frame.messages[:1000])


class ReadOnly(Sound):
    """Payloads are copied into memory that cannot be written."""

    async def receive(self) -> Frame:
        frame = await super().receive()
        messages = [
            (tag, Message(memoryview(bytes(m.payload)), m.depth, m.offline))
            for tag, m in frame.messages
        ]
        return msgspec.structs.replace(frame, messages=messages)


class LosesTheRest(Sound):
    """What is beyond 16 MiB of a frame comes as zeros."""

    async def receive(self) -> Frame:
        frame = await super().receive()
        for _, message in frame.messages:
            size = len(message.payload) - (16 << 20)
            if size > 0:
                message.payload[16 << 20 :] = bytes(size)
        return frame


class OneAtATime(Sound):
    """Receives nothing as long as the other side has not read what was sent."""

    unread = 0
    other: OneAtATime

    async def send(self, parts: Sequence[Buffer]) -> None:
        self.unread += 1
        await super().send(parts)

    async def receive(self) -> Frame:
        while self.unread:  # noqa: ASYNC110 - a fault, not a model
            await asyncio.sleep(0.001)
        frame = await super().receive()
        self.other.unread -= 1
        return frame


class ForgetsWhenCancelled(Sound):
    """A frame is taken before its receiver is sure to get it."""

    async def receive(self) -> Frame:
        frame = await super().receive()
        await asyncio.sleep(0)
        return frame


class ClosesAtOnce(Sound):
    """Closing drops what was sent."""

    async def close(self) -> None:
        self.inner.abort()
        await super().close()


class ForgetsWhatCame(Sound):
    """After the end nothing is received any more, not even what had come before."""

    other: ForgetsWhatCame
    over = False

    async def receive(self) -> Frame:
        frame = await super().receive()
        if self.over:
            raise ConnectionClosed("the other side closed it")
        return frame

    async def close(self) -> None:
        self.other.over = True
        await super().close()


class LeavesWritersWaiting(Sound):
    """Who sends to somebody that is gone never learns it."""

    async def send(self, parts: Sequence[Buffer]) -> None:
        try:
            await super().send(parts)
        except ConnectionClosed:
            await forever()


class ClosesOnce(Sound):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        await super().close()


class TakesDataAnyTime(Sound):
    async def receive(self) -> Frame:
        return await self.inner.receive()

    def __init__(self, inner: Connection) -> None:
        super().__init__(inner)
        inner.control_only = False


class JudgesTooEarly(Sound):
    """Looks at the next frame before anybody asks for it, by the rules of now."""

    ahead: asyncio.Task[Frame] | None = None

    async def receive(self) -> Frame:
        ahead = self.ahead or asyncio.create_task(super().receive())
        frame = await asyncio.shield(ahead)
        self.ahead = asyncio.create_task(super().receive())
        await asyncio.sleep(0)
        return frame

    def abort(self) -> None:
        super().abort()
        if self.ahead is not None:
            self.ahead.cancel()
            self.ahead.add_done_callback(lambda done: done.cancelled() or done.exception())


class HidesBrokenRules(Sound):
    """What is no frame passes for the end."""

    async def receive(self) -> Frame:
        try:
            return await super().receive()
        except FrameError as error:
            raise ConnectionClosed(error.why) from None


class WaitsForTheRest(Sound):
    """Believes what a header says of its body."""

    async def receive(self) -> Frame:
        try:
            return await super().receive()
        except FrameError as error:
            if str(1 << 60) in error.why:
                await forever()
            raise


class HearsWholeFramesOnly(Sound):
    heard = 0.0

    @property
    def last_heard(self) -> float:
        return self.heard

    @last_heard.setter
    def last_heard(self, when: float) -> None:
        self.heard = when


class SaysOnlyClosed(Sound):
    async def receive(self) -> Frame:
        try:
            return await super().receive()
        except ConnectionClosed:
            raise ConnectionClosed("closed") from None


CONNECTION_FAULTS: list[tuple[str, type[Sound]]] = [
    ("frames keep order and contents", DropsAByte),
    ("frames keep order and contents", ChangesAByte),
    ("frames keep order and contents", Reorders),
    ("bytes and frames are counted alike", CountsNothing),
    ("control frames keep kind and text", LosesTexts),
    ("many small messages fit a frame", FewMessages),
    ("payloads are aligned and writable", ReadOnly),
    ("large payloads arrive whole", LosesTheRest),
    ("two directions do not wait for each other", OneAtATime),
    ("receiving may be cancelled", ForgetsWhenCancelled),
    ("a slow reader holds the writer back", HoldsNobodyBack),
    ("closing lets everything out", ClosesAtOnce),
    ("closing lets everything out", TellsNoEnd),
    ("what came before the end is received", ForgetsWhatCame),
    ("what came before the end is received", TellsNoEnd),
    ("aborting wakes who receives", TellsNoEnd),
    ("aborting wakes who sends", LeavesWritersWaiting),
    ("ending twice does no harm", ClosesOnce),
    ("data before the greeting is refused", TakesDataAnyTime),
    ("data right after the greeting is read", JudgesTooEarly),
    ("what is no frame is refused", HidesBrokenRules),
    ("huge lengths are refused", WaitsForTheRest),
]
"""Which check has to notice what."""

STREAM_FAULTS: list[tuple[str, type[Sound]]] = [
    ("a long frame is heard while it comes", HearsWholeFramesOnly),
    ("a cut frame is told", SaysOnlyClosed),
]
