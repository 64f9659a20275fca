"""The door for speech clients at the speakers' organization: WebSockets in, text out.

It runs inside the speakers' party, so what clients send is seen by that organization alone, and
everything behind it by nobody. Whoever reaches it may speak, so it listens on this machine only;
what stands in front of it (a proxy with TLS and a login) decides who else may.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from typing import Self

import msgspec
import torch
from aiohttp import WSMsgType, web

from apps.speech.live.capture import Block
from apps.speech.live.conversation import Conversation, Event
from apps.speech.live.meter import Meter
from apps.speech.live.switchboard import Heard, Switchboard
from apps.speech.live.voice import VoiceGate
from mpcnet.errors import AppError

__all__ = ["PATH", "Gateway"]

PATH = "/v1/realtime"

_MAX_MESSAGE_BYTES = 1 << 20  # of JSON: 16 s of sound at 24 kHz
_MOST_WAITING = 16  # messages of one client, before it has to wait
_HEARTBEAT_S = 20.0


class Gateway:
    """Serves clients until it is closed.

    Attributes:
        url: where.
    """

    def __init__(self, board: Switchboard) -> None:
        self.url = ""
        self._board = board
        self._runner: web.AppRunner | None = None

    @classmethod
    async def open(cls, board: Switchboard, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Listens.

        Args:
            port: 0 for any that is free.

        Raises:
            AppError: the host is not an address of this machine's loopback, or the port is taken.
        """
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise AppError(
                f"the gateway cannot listen at {host!r}: it has no TLS and no login, so give "
                f"127.0.0.1, and put a proxy that has both in front of it"
            )
        gateway = cls(board)
        application = web.Application()
        application.router.add_get(PATH, gateway._serve)
        gateway._runner = web.AppRunner(application, access_log=None)
        await gateway._runner.setup()
        site = web.TCPSite(gateway._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await gateway.close()
            raise AppError(f"the gateway cannot listen at port {port}: {error.strerror}") from error
        bound = gateway._runner.addresses[0][1]
        gateway.url = f"ws://{f'[{host}]' if ':' in host else host}:{bound}{PATH}"
        return gateway

    async def close(self) -> None:
        """Ends all conversations."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        # A page of another origin could otherwise use a visitor's browser to get in.
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            raise web.HTTPForbidden(text="this origin may not speak here")
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=_MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        await _Client(socket, self._board).run()
        return socket


class _Client:
    """One connection."""

    def __init__(self, socket: web.WebSocketResponse, board: Switchboard) -> None:
        self._socket, self._board = socket, board
        self._conversation = Conversation()
        self._blocks: asyncio.Queue[Block | None] = asyncio.Queue(_MOST_WAITING)
        self._answers: asyncio.Queue[list[Event] | None] = asyncio.Queue()
        self._speaking: asyncio.Task[Meter] | None = None

    async def run(self) -> None:
        """Until the client leaves; text under way is then dropped."""
        writer = asyncio.ensure_future(self._write())
        self._answers.put_nowait(self._conversation.begin())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(message.data)
                else:
                    break
        finally:
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)
            self._answers.put_nowait(None)
            await asyncio.gather(writer, return_exceptions=True)

    async def _take(self, text: str) -> None:
        talk = self._conversation
        events = talk.receive(text)
        if talk.samples is not None or talk.ends:
            samples = torch.zeros(0) if talk.samples is None else talk.samples
            if self._speaking is None:
                self._speaking = asyncio.ensure_future(self._speak())
                self._speaking.add_done_callback(self._over)
            now = asyncio.get_running_loop().time()
            block = Block(samples, talk.rate, now, last=talk.ends)
            putting = asyncio.ensure_future(self._blocks.put(block))
            # Nobody takes it where the transcription broke off.
            await asyncio.wait((putting, self._speaking), return_when=asyncio.FIRST_COMPLETED)
            putting.cancel()
        self._answers.put_nowait(events)

    async def _speak(self) -> Meter:
        gate = VoiceGate() if self._conversation.detects_turns else None
        return await self._board.transcribe(
            self._incoming(), self._tell, gate=gate, turn=self._turn
        )

    async def _incoming(self) -> AsyncIterator[Block]:
        while (block := await self._blocks.get()) is not None:
            yield block

    def _tell(self, heard: Heard, _: Meter) -> None:
        self._answers.put_nowait(self._conversation.hear(heard))

    def _turn(self, begins: bool, utterance: int, seconds: float) -> None:
        self._answers.put_nowait(self._conversation.turn(begins, utterance, seconds))

    def _over(self, task: asyncio.Task[Meter]) -> None:
        if not task.cancelled() and task.exception() is not None:
            # What went wrong inside is for this organization's log and not for its clients.
            self._answers.put_nowait(self._conversation.fail("the transcription broke off"))
            self._answers.put_nowait(None)

    async def _write(self) -> None:
        while (events := await self._answers.get()) is not None:
            for event in events:
                await self._socket.send_str(msgspec.json.encode(event).decode())
        await self._socket.close()
