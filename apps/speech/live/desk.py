"""Where those who speak go: it stays while sessions come and go, and finds the one that is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from apps.speech.live.capture import Block, Turn
from apps.speech.live.meter import Meter
from apps.speech.live.switchboard import Heard, Refusal, Switchboard
from apps.speech.live.voice import VoiceGate
from mpcnet.session import Session

__all__ = ["Desk", "Door"]

_PATIENCE_S = 10.0  # for a session to come: a party that was started again needs some seconds


class Door(Protocol):
    """Where people come in, at one party; it stays while sessions come and go."""

    def began(self, session: Session, board: Switchboard | None) -> None:
        """A session is up, and all parties are warm.

        Args:
            board: of those who speak, at the party that announces what all do; None at others.
        """

    def over(self, why: str) -> None:
        """No session is up, or it comes to its end: whoever comes now has to wait.

        What is under way may go on if the session ends in order.

        Args:
            why: a sentence for people of this organization.
        """


class Desk:
    """Hands streams of sound to the switchboard of the session that is up.

    Args:
        patience_s: how long somebody who speaks is kept waiting while there is none.
    """

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._board: Switchboard | None = None
        self._open = asyncio.Event()

    def began(self, session: Session, board: Switchboard | None) -> None:
        """A session is up."""
        self._board = board
        if board is not None:
            self._open.set()

    def over(self, why: str) -> None:
        """None is up; streams under way are ended by their switchboard."""
        self._board = None
        self._open.clear()

    async def transcribe(
        self,
        blocks: AsyncIterator[Block],
        tell: Callable[[Heard, Meter], None],
        *,
        gate: VoiceGate | None = None,
        turn: Turn | None = None,
    ) -> Meter:
        """`Switchboard.transcribe` in the session that is up, or in the next one.

        Returns when the blocks end, or the session does in order; then between two utterances.

        Raises:
            Refusal: no session comes, too many speak, or the session broke.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                board = await self._next_board()
        except TimeoutError:
            raise Refusal(
                "the other organizations cannot be reached at the moment; it is tried again and "
                "again, so speak again later"
            ) from None
        return await board.transcribe(blocks, tell, gate=gate, turn=turn)

    async def _next_board(self) -> Switchboard:
        """That of the session that is up; one that broke just now is up no more."""
        while self._board is None or self._board.closed:
            self._open.clear()
            await self._open.wait()
        return self._board
