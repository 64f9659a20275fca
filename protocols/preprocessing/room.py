"""How much of what is dealt may wait at one party for the inputs that it will meet."""

import asyncio
from collections import deque

__all__ = ["Room"]


class Room:
    """Bytes, granted in the order in which they are asked for.

    Operators ask in the order of the program and wait for none that comes after them, so whoever
    stands in front always gets what it needs in the end.

    Args:
        limit: of all that is granted at once; None for as much as is asked for. What is larger
            alone has its turn alone.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.used = 0
        self._queue: deque[tuple[asyncio.Future[None], int]] = deque()

    async def take(self, size: int) -> None:
        """Returns when so many bytes are there; they have to be given back."""
        if not self._queue and self._fits(size):
            self.used += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((turn, size))
        try:
            await turn
        except BaseException:
            granted = turn.done() and not turn.cancelled()
            self.give_back(size if granted else 0)
            raise

    def give_back(self, size: int) -> None:
        """So many bytes are used up: whoever stands in front may have its turn."""
        self.used -= size
        while self._queue and (self._queue[0][0].done() or self._fits(self._queue[0][1])):
            turn, granted = self._queue.popleft()
            if not turn.done():
                self.used += granted
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self.limit is None or not self.used or self.used + size <= self.limit
