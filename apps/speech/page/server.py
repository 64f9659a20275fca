"""The page at one computing party: it outlives the parties' sessions."""

from __future__ import annotations

from asyncio import Future
from pathlib import Path
from typing import Any, Final

import msgspec

import apps.page
from apps.page.door import Door
from apps.page.guests import MOST_UNANSWERED, Guests
from apps.speech.config import SpeechConfig
from apps.speech.live.site import Site, listen
from apps.speech.live.steps import Step
from apps.speech.live.switchboard import Pace, Switchboard
from apps.speech.program import PageSettings
from apps.speech.prompt_model import shrinkage
from mpcnet.app import Events
from mpcnet.outside import OutsideShare
from mpcnet.session import Session

__all__ = ["MOST_CHUNK_FRAMES", "Page", "open_page"]

MOST_CHUNK_FRAMES: Final = 1 << 9  # 5 s: a browser keeps to less
_WORD_BYTES = 8
_OWN_FILES = Path(__file__).parent / "static"
_FILES = Path(apps.page.__file__).parent / "static"


class Page:
    """See `open_page`, which makes it; and `apps.speech.live.steps.Guests` for the program.

    Attributes:
        url: where people open it.
    """

    def __init__(self, page: PageSettings, config: SpeechConfig, name: str, pace: Pace) -> None:
        self.url = ""
        self._config, self._name, self._pace = config, name, pace
        self._parties = dict(page.parties)
        self._session: Session | None = None
        self._site: Site | None = None
        self._unit = shrinkage(config.layers)
        most = MOST_CHUNK_FRAMES // self._unit * self._unit
        self._guests = Guests(self._share_bytes, most=most, unit=self._unit)
        self._longest = _WORD_BYTES * config.num_features * most

    async def open(self, page: PageSettings) -> None:
        """Listens."""
        door = Door(
            {"speech": _OWN_FILES, "page": _FILES},
            self._parties,
            self._guests,
            longest=self._longest,
            welcome=self._welcome,
            settings=self._settings,
        )
        self._site = await listen(
            door.application(),
            page.listen,
            certificate=page.certificate,
            key=page.key,
            public=True,
        )
        self.url = self._parties.get(self._name, self._site.url)

    async def close(self) -> None:
        """Hangs up on everybody."""
        self._guests.dismiss("the service has ended")
        if self._site is not None:
            await self._site.close()

    # --- the parties' sessions --------------------------------------------------------------------

    def began(self, session: Session, board: Switchboard | None) -> None:
        """A session is up: to be called before the program takes its first step.

        Args:
            board: at the party that announces the steps.
        """
        self._session = session
        self._guests.lead(board.host(self) if board is not None else None)

    def over(self, why: str) -> None:
        """The session has ended; perhaps another one comes."""
        self._session = None
        self._guests.dismiss(why)

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
        if session is None:
            return None
        return {
            "party": session.name,
            "parties": session.names,
            "ring_bits": session.suite.ring.bits,
            "scale_bits": session.suite.scale_bits,
            "app": self._public(),
        }

    def _settings(self) -> dict[str, Any]:
        """What the page is told before it comes in: where the parties are."""
        return {"party": self._name, "parties": self._parties, "app": self._public()}

    def _public(self) -> dict[str, Any]:
        second = self._config.sample_rate / self._config.hop_length
        unit, pace = self._unit, self._pace
        widest = min(pace.widest_s * second, MOST_CHUNK_FRAMES)
        return {
            "model": msgspec.to_builtins(self._config),
            "unit": unit,
            "chunk_frames": max(1, round(pace.chunk_s * second / unit)) * unit,
            "widest_frames": max(1, int(widest / unit)) * unit,
            "in_flight": min(pace.in_flight, MOST_UNANSWERED - 2),
        }


async def open_page(
    page: PageSettings,
    config: SpeechConfig,
    name: str,
    events: Events,
    *,
    pace: Pace | None = None,
) -> Page:
    """Listens at this party; people can speak once `Page.began` was told of a session.

    Args:
        name: this party's.

    Raises:
        AppError: the address cannot be listened at.
    """
    opened = Page(page, config, name, pace or Pace())
    await opened.open(page)
    events("phase", {"what": f"page at {opened.url}"})
    return opened
