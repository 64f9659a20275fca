"""Live speech as a service: the doors for those who speak stay, while sessions come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from apps.inference import hidden_model
from apps.speech.live.desk import Desk, Door
from apps.speech.live.gateway import Gateway
from apps.speech.live.run import check_model, pace_of
from apps.speech.live.site import Login, TLSFiles
from apps.speech.live.steps import follow
from apps.speech.live.switchboard import Switchboard
from apps.speech.page.server import Page, open_page
from apps.speech.program import LiveSettings, SpeechSettings
from mpcnet.app import Events, Service
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = ["LiveService", "live_service"]


class LiveService(Service):
    """One party's part of live speech, session after session."""

    def __init__(
        self,
        settings: SpeechSettings,
        live: LiveSettings,
        events: Events,
        doors: Sequence[Door],
        page: Page | None = None,
    ) -> None:
        self._settings, self._live = settings, live
        self._events = events
        self._doors = [*doors, *([page] if page is not None else [])]
        self._page = page

    async def run(self, session: Session) -> dict[str, Any]:
        """Until somebody wishes the session to end; what is said then is heard out."""
        settings, owner = self._settings, self._settings.recording_owner
        model, _ = await hidden_model(session, settings, self._events)
        board: Switchboard | None = None
        if session.name == owner:
            pace = pace_of(self._live)
            board = Switchboard(session, model, settings.model, owner=owner, pace=pace)
        ending = asyncio.ensure_future(self._end(session, board))
        ready = partial(self._ready, session, board)
        try:
            if board is not None:
                await board.run(ready)
            else:
                config, guests = settings.model, self._page
                await follow(session, model, config, owner=owner, guests=guests, ready=ready)
        except BaseException:
            if board is not None:
                board.lose()
            raise
        finally:
            self.away("the session is over")
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        return {}

    def away(self, why: str) -> None:
        """No session is under way."""
        for door in self._doors:
            door.over(why)

    def _ready(self, session: Session, board: Switchboard | None) -> None:
        if not session.closing.wished:
            for door in self._doors:
                door.began(session, board)
        self._events("phase", {"what": "ready for speech"})

    async def _end(self, session: Session, board: Switchboard | None) -> None:
        who = await session.closing.wait()
        self._events("phase", {"what": f"{who} ends the session: what is being said is heard out"})
        self.away(f"{who} ends the session")
        if board is not None:
            board.drain()


@asynccontextmanager
async def live_service(
    name: str, settings: SpeechSettings, live: LiveSettings, events: Events
) -> AsyncIterator[LiveService]:
    """What the party of this name keeps: at the speakers' a gateway for their clients.

    Raises:
        AppError: it cannot listen as the settings say, or has nothing to serve.
    """
    check_model(settings)
    settings.own_model(name)  # what cannot be used is known before anybody is waited for
    async with AsyncExitStack() as stack:
        doors: list[Door] = []
        if name == settings.recording_owner and live.listen is not None:
            doors.append(await stack.enter_async_context(_gateway(live, live.listen, events)))
        page: Page | None = None
        if live.page is not None:
            opening = open_page(live.page, settings.model, name, events, pace=pace_of(live))
            page = await stack.enter_async_context(opening)
        if name == settings.recording_owner and not doors and page is None:
            raise AppError(
                "there is nobody to serve: name an address for speech clients, "
                '[app.live] listen = "127.0.0.1:8765", or an [app.live.page]; for recordings run '
                "`mpcnet party`"
            )
        yield LiveService(settings, live, events, doors, page)


@asynccontextmanager
async def _gateway(live: LiveSettings, address: str, events: Events) -> AsyncIterator[Desk]:
    desk = Desk()
    gateway = await Gateway.open(desk, address, tls=_tls(live), login=_login(live.token))
    trial = f"python -m apps.speech.live.client {gateway.url} RECORDING.wav"
    lines = [f"speech clients: {gateway.url}", *([] if live.token else [f"for example: {trial}"])]
    events("serving", {"lines": lines})
    try:
        yield desk
    finally:
        await gateway.close()


def _tls(live: LiveSettings) -> TLSFiles | None:
    if live.certificate is None or live.key is None:
        return None
    return TLSFiles(live.certificate, live.key)


def _login(token: Path | None) -> Login | None:
    return None if token is None else Login.of_file(token)
