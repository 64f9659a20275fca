"""The page at one computing party: it outlives the parties' sessions."""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

import apps.page
from apps.page.door import Door
from apps.page.guests import MOST_UNANSWERED, Guests
from apps.speech.config import SpeechConfig
from apps.speech.live.site import Site, TLSFiles
from apps.speech.live.steps import Step
from apps.speech.live.switchboard import Pace, Switchboard
from apps.speech.program import PageSettings
from apps.speech.prompt_model import shrinkage
from mpcnet.app import Events
from mpcnet.errors import AppError
from mpcnet.outside import OutsideShare
from mpcnet.session import Session

__all__ = ["MOST_CHUNK_FRAMES", "Page", "open_page"]

MOST_CHUNK_FRAMES: Final = 1 << 9  # 5 s: a browser keeps to less
_WORD_BYTES = 8
_OWN_FILES = Path(__file__).parent / "static"
_FILES = Path(apps.page.__file__).parent / "static"


class Page:
    """See `open_page`, which makes it; and `apps.speech.live.steps.Guests` for the program."""

    def __init__(self, page: PageSettings, config: SpeechConfig, name: str, pace: Pace) -> None:
        self._config, self._name, self._pace = config, name, pace
        self._parties = {name: url.rstrip("/") for name, url in page.parties.items()}
        self._session: Session | None = None  # the latest
        self._up = self._ending = False
        self._unit = shrinkage(config.layers)
        most = MOST_CHUNK_FRAMES // self._unit * self._unit
        self._guests = Guests(self._share_bytes, most=most, unit=self._unit)
        self.door = Door(
            {"speech": _OWN_FILES, "page": _FILES},
            self._parties,
            self._guests,
            longest=_WORD_BYTES * config.num_features * most,
            welcome=self._welcome,
            settings=self._settings,
        )

    # --- the parties' sessions --------------------------------------------------------------------

    def began(self, session: Session, board: Switchboard | None) -> None:
        """A session is up, and the program is about to take its first step.

        Args:
            board: at the party that announces the steps.
        """
        self._session, self._up, self._ending = session, True, False
        self._guests.begin(board.host(self) if board is not None else None)

    def over(self, why: str) -> None:
        """No session is up, or it comes to its end in order; then what is said is heard out."""
        session = self._session
        if self._up and session is not None and session.closing.wished and not self._ending:
            self._ending = True
            self._guests.stop()
            return
        self._up = False
        self._guests.dismiss(why)
        self._session = None  # which holds shares of the model

    def stop(self) -> None:
        """Nobody new comes in, and who speaks has some seconds to finish."""
        self._guests.stop()

    # --- for the program --------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether anybody is here."""
        return self._guests.busy

    def next_step(self) -> Step | None:
        """What all parties do next for a guest; at the party that announces the steps."""
        wish = self._guests.next_wish()
        return None if wish is None else Step(wish.kind, frames=wish.size, guest=wish.guest)

    def here(self, guest: str) -> bool:
        """Whether this party has a connection to the guest."""
        return self._guests.here(guest)

    def joined(self, guest: str, everywhere: bool) -> None:
        """All parties have said whether they have one."""
        self._guests.joined(guest, everywhere, self._sent())

    def share(self, step: Step) -> Future[bytes]:
        """This party's share of the announced chunk, (1, num_features, frames)."""
        return self._guests.share(step.guest, step.frames)

    def answer(self, step: Step, share: Future[OutsideShare] | None, frames: int) -> None:
        """This party's share of the logits (1, classes, frames), which goes to the guest."""
        if step.kind == "end":
            self._guests.ended(step.guest)
        self._guests.answer(step.guest, share, frames, self._sent)

    def left(self, guest: str) -> None:
        """The guest's stream is over."""
        self._guests.left(guest)

    # --- for the door -----------------------------------------------------------------------------

    def _sent(self) -> int:
        return self._session.bytes_sent if self._session is not None else 0

    def _share_bytes(self, frames: int) -> int:
        shape = (1, self._config.num_features, frames)
        return self._session.outside_bytes(shape) if self._session is not None else 0

    def _welcome(self) -> dict[str, Any] | None:
        session = self._session
        if session is None or not self._up:
            return None
        return {
            "party": session.name,
            "parties": session.names,
            "ring_bits": session.suite.ring.bits,
            "scale_bits": session.suite.scale_bits,
            "app": self._public(),
            "pace": self._measure(),
        }

    def _settings(self) -> dict[str, Any]:
        """What the page is told before it comes in: where the parties are."""
        return {"party": self._name, "parties": self._parties, "app": self._public()}

    def _public(self) -> dict[str, Any]:
        """What all parties say alike."""
        return {"model": msgspec.to_builtins(self._config), "unit": self._unit}

    def _measure(self) -> dict[str, int]:
        """How a browser cuts what it hears, as the party says that leads."""
        second = self._config.sample_rate / self._config.hop_length
        unit, pace = self._unit, self._pace
        widest = min(pace.widest_s * second, MOST_CHUNK_FRAMES)
        return {
            "chunk_frames": max(1, round(pace.chunk_s * second / unit)) * unit,
            "widest_frames": max(1, int(widest / unit)) * unit,
            "in_flight": min(pace.in_flight, MOST_UNANSWERED - 2),
        }


@asynccontextmanager
async def open_page(
    page: PageSettings,
    config: SpeechConfig,
    name: str,
    events: Events,
    *,
    pace: Pace | None = None,
) -> AsyncIterator[Page]:
    """While entered, listens at this party; people can speak once a session `began`.

    Args:
        name: this party's.

    Raises:
        AppError: it cannot listen as the settings say, or they have no address of this party.
    """
    if name not in page.parties:
        raise AppError(f"[app.live.page] parties has no address of {name}, who serves the page")
    tls = None
    if page.certificate is not None and page.key is not None:
        tls = TLSFiles(page.certificate, page.key)
    opened = Page(page, config, name, pace or Pace())
    application = opened.door.application()
    # Whoever comes is somebody who wants to be heard: there is nothing to log in to.
    site = await Site.open(application, page.listen, tls=tls, guarded=True, what="the page")
    events("serving", {"lines": [f"page: {page.parties[name]}"]})
    try:
        yield opened
    finally:
        opened.over("the service has ended")
        await site.close()
