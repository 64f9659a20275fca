"""The door for speech clients at the speakers' organization: WebSockets in, text out.

It runs inside the speakers' party, so what clients send is seen by that organization alone, and
everything behind it by nobody. It stays while sessions come and go. Without TLS and a login it
listens on this machine only, for whoever reaches it may speak.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Self

import msgspec
import structlog
import torch
from aiohttp import WSMessage, WSMsgType, web

from apps.speech.live.capture import Block
from apps.speech.live.conversation import Conversation, Event
from apps.speech.live.desk import Desk
from apps.speech.live.meter import Meter
from apps.speech.live.site import Login, Site, TLSFiles
from apps.speech.live.switchboard import Heard, Refusal
from apps.speech.live.voice import VoiceGate

__all__ = ["PATH", "Gateway"]

_log = structlog.get_logger(__name__)

PATH = "/v1/realtime"

_MAX_MESSAGE_BYTES = 1 << 20  # of JSON: 16 s of sound at 24 kHz
_MOST_CLIENTS = 256
_MOST_WAITING = 16  # messages of one client, before it has to wait
_MOST_UNREAD = 512  # lots of events that a client has not read, before it is let go
_MOST_MISTAKES = 100  # of one client, before it is let go
_HEARTBEAT_S = 20.0
_FAREWELL_S = 2.0
_BROKE_OFF = "the transcription broke off; speak again"


class Gateway:
    """Serves clients until it is closed.

    Attributes:
        url: where.
    """

    def __init__(self, desk: Desk, login: Login | None) -> None:
        self.url = ""
        self._desk, self._login = desk, login
        self._clients: set[_Client] = set()
        self._site: Site | None = None

    @classmethod
    async def open(
        cls,
        desk: Desk,
        address: str = "127.0.0.1:0",
        *,
        tls: TLSFiles | None = None,
        login: Login | None = None,
    ) -> Self:
        """Listens.

        Args:
            address: `host:port`; port 0 for any that is free.
            login: what clients have to show.

        Raises:
            AppError: the port is taken, or beyond this machine's loopback TLS or a login is
                missing.
        """
        gateway = cls(desk, login)
        application = web.Application()
        application.router.add_get(PATH, gateway._serve)
        gateway._site = await Site.open(
            application, address, tls=tls, guarded=login is not None, what="the gateway"
        )
        gateway.url = f"ws{gateway._site.url.removeprefix('http')}{PATH}"
        return gateway

    async def close(self) -> None:
        """Ends all conversations."""
        if self._site is not None:
            await asyncio.gather(*(client.leave() for client in list(self._clients)))
            await self._site.close()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        # A page could otherwise use a visitor's browser to get in. Its origin may even be equal to
        # the host that is asked for, where the page points its own name at this machine.
        if "Origin" in request.headers:
            raise web.HTTPForbidden(text="this door is for programs; browsers have the page")
        if self._login is not None and not self._login.admits(request):
            _log.warning("a client was refused: it shows no token, or a wrong one")
            challenge = {"WWW-Authenticate": "Bearer"}
            raise web.HTTPUnauthorized(text="show the token of this gateway", headers=challenge)
        if len(self._clients) >= _MOST_CLIENTS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_CLIENTS} clients are here already")
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=_MAX_MESSAGE_BYTES)
        client = _Client(socket, request, self._desk)
        self._clients.add(client)  # before anybody else is let in
        try:
            await socket.prepare(request)
            _log.info("a client has come", clients=len(self._clients))
            await client.run()
        finally:
            self._clients.discard(client)
            _log.info("a client has left", clients=len(self._clients))
        return socket


class _Client:
    """One connection."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, desk: Desk) -> None:
        self._socket, self._request, self._desk = socket, request, desk
        self._conversation = Conversation()
        self._blocks: deque[Block] = deque()
        self._heard, self._taken = asyncio.Event(), asyncio.Event()
        self._answers: asyncio.Queue[list[Event] | None] = asyncio.Queue()
        self._speaking: asyncio.Task[Meter] | None = None
        self._mistakes = 0
        self._gone = False
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Until the client leaves; text under way is then dropped."""
        writer = asyncio.ensure_future(self._write())
        self._say(self._conversation.begin())
        try:
            async for message in self._socket:
                await self._take(message)
                if self._mistakes >= _MOST_MISTAKES:
                    _log.warning("a client is let go: it sends nothing that can be understood")
                    break
        finally:
            self._gone = True
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)
            self._answers.put_nowait(None)
            await asyncio.gather(writer, return_exceptions=True)
            self._over.set()

    async def leave(self) -> None:
        """This end goes away, once the client has heard what it is still to hear."""
        if self._speaking is not None and self._conversation.awaits:
            self._say(self._conversation.fail("this gateway is being stopped"))
        self._answers.put_nowait(None)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await self._over.wait()

    async def _take(self, message: WSMessage) -> None:
        talk = self._conversation
        if message.type is WSMsgType.TEXT:
            events = talk.receive(message.data)
        else:
            events = talk.refuse("events are JSON texts, and this is no text")
        self._mistakes += any(event["type"] == "error" for event in events)
        self._say(events)
        if talk.samples is not None or talk.ends:
            samples = torch.zeros(0) if talk.samples is None else talk.samples
            now = asyncio.get_running_loop().time()
            await self._hand_on(Block(samples, talk.rate, now, last=talk.ends))

    async def _hand_on(self, block: Block) -> None:
        """A block for whoever transcribes; the client waits while too many do."""
        self._blocks.append(block)
        self._heard.set()
        if self._speaking is None:
            self._begin()
        while len(self._blocks) >= _MOST_WAITING:
            self._taken.clear()
            await self._taken.wait()

    def _begin(self) -> None:
        gate = VoiceGate() if self._conversation.detects_turns else None
        self._speaking = asyncio.ensure_future(
            self._desk.transcribe(self._incoming(), self._tell, gate=gate, turn=self._turn)
        )
        self._speaking.add_done_callback(self._ended)

    async def _incoming(self) -> AsyncIterator[Block]:
        while True:
            while not self._blocks:
                self._heard.clear()
                await self._heard.wait()
            self._taken.set()
            yield self._blocks.popleft()

    def _tell(self, heard: Heard, _: Meter) -> None:
        self._say(self._conversation.hear(heard))

    def _turn(self, begins: bool, utterance: int, seconds: float) -> None:
        self._say(self._conversation.turn(begins, utterance, seconds))

    def _ended(self, task: asyncio.Task[Meter]) -> None:
        """The stream is over, and the client is not: what it says next is another stream."""
        self._speaking = None
        if task.cancelled() or (self._gone and task.exception() is None):
            return
        error = task.exception()
        if error is None:
            left = sum(len(block.samples) for block in self._blocks)
            self._say(self._conversation.end_stream(left))
            if left:
                self._begin()
            else:
                self._forget()  # an end of what was ended already
            return
        self._forget()
        # What went wrong inside is for this organization's log and not for its clients.
        why = str(error) if isinstance(error, Refusal) else _BROKE_OFF
        self._say(self._conversation.fail(why))
        _log.warning("an utterance failed", why=why, error=type(error).__name__)

    def _forget(self) -> None:
        """What waits is not transcribed."""
        self._blocks.clear()
        self._taken.set()

    def _say(self, events: list[Event]) -> None:
        if self._answers.qsize() >= _MOST_UNREAD and self._request.transport is not None:
            _log.warning("a client is let go: it does not read what it is told")
            self._request.transport.abort()
        elif events:
            self._answers.put_nowait(events)

    async def _write(self) -> None:
        while (events := await self._answers.get()) is not None:
            for event in events:
                await self._socket.send_str(msgspec.json.encode(event).decode())
        await self._socket.close()
