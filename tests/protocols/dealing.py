"""A dealer that serves on links within this process, and its requests as bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from protocols.dealer import Dealer
from protocols.device import Device
from protocols.label import Label
from protocols.prg import Key
from tests.transports.pairs import local_exchanges
from transports import Exchange

__all__ = ["dealing", "request"]


@asynccontextmanager
async def dealing(
    device: Device, size: int = 2
) -> AsyncIterator[tuple[list[Exchange], "asyncio.Task[None]"]]:
    """A dealer that has the parties' keys and waits for requests."""
    async with local_exchanges(size + 1) as exchanges:
        task = asyncio.create_task(Dealer(exchanges[size], size, device).serve())
        for rank in range(size):
            tag = Label(f"key/{rank}").tag
            exchanges[rank].post(size, tag, Key.fresh().reveal(), offline=True)
        try:
            yield exchanges, task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            device.close()


def request(exchanges: list[Exchange], number: int, payload: bytes) -> None:
    """Sends one request, or the end."""
    encoded = b"[" + payload + b"]" if payload else b""
    exchanges[-2].post(len(exchanges) - 1, Label(f"requests/{number}").tag, encoded, offline=True)
