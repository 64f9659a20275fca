"""Live speech as a service: the doors for those who speak stay, while sessions come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from apps.speech.live.desk import Desk
from apps.speech.live.gateway import Gateway
from apps.speech.live.run import check_model, pace_of
from apps.speech.live.site import Login, TLSFiles
from apps.speech.live.switchboard import Switchboard, follow
from apps.speech.program import LiveSettings, SpeechSettings, own_model
from mpcnet.app import Events, Service
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = ["LiveService", "live_service"]


class LiveService(Service):
    """One party's part of live speech, session after session."""

    def __init__(
        self, settings: SpeechSettings, live: LiveSettings, events: Events, desk: Desk
    ) -> None:
        self._settings, self._live = settings, live
        self._events, self._desk = events, desk

    async def run(self, session: Session) -> dict[str, Any]:
        """Until somebody wishes the session to end; what is said then is heard out."""
        settings, owner = self._settings, self._settings.recording_owner
        self._events("phase", {"what": "setup", "item": "weights"})
        model = session.private(own_model(session, settings), owner=settings.model_owner)
        await session.prepared()
        if session.name != owner:
            await follow(session, model, settings.model, owner=owner, ready=self._ready)
            return {}
        pace = pace_of(self._live)
        board = Switchboard(session, model, settings.model, owner=owner, pace=pace)
        ending = asyncio.ensure_future(self._end(session, board))
        try:
            await board.run(lambda: self._open(session, board))
        finally:
            self._desk.close()
            board.lose()  # of no effect on those whose stream has ended
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        return {}

    def _open(self, session: Session, board: Switchboard) -> None:
        if not session.closing.wished:
            self._desk.open(board)
        self._ready()

    def _ready(self) -> None:
        self._events("phase", {"what": "ready for speech"})

    async def _end(self, session: Session, board: Switchboard) -> None:
        who = await session.closing.wait()
        self._events(
            "phase", {"what": f"{who} wishes to end the session: utterances are heard out"}
        )
        self._desk.close()
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
    desk = Desk()
    gateway: Gateway | None = None
    if name == settings.recording_owner:
        if live.listen is None:
            raise AppError(
                "there is nobody to serve: name an address for speech clients, "
                '[app.live] listen = "127.0.0.1:8765"; for recordings run `mpcnet party`'
            )
        gateway = await Gateway.open(desk, live.listen, tls=_tls(live), login=_login(live.token))
        events("serving", {"lines": [f"speech clients: {gateway.url}"]})
    elif settings.weights is None:
        raise AppError("the model's owner must name its weights: [app] weights")
    try:
        yield LiveService(settings, live, events, desk)
    finally:
        if gateway is not None:
            await gateway.close()


def _tls(live: LiveSettings) -> TLSFiles | None:
    if live.certificate is None or live.key is None:
        return None
    return TLSFiles(live.certificate, live.key)


def _login(token: Path | None) -> Login | None:
    return None if token is None else Login.of_file(token)
