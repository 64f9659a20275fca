"""The dealer and parties that leave early."""

import asyncio
from typing import Any

import msgspec

from protocols.device import Device
from tests.protocols.dealing import dealing, request

MASK = {"label": "1.open/mask", "shape": (3,), "holders": (0, 1), "kept": False}
TRUNCATION = {"type": "truncation", "label": "2.t/material", "mask": MASK, "bits": 20}


class LateDevice(Device):
    """A device whose kernels wait for a sign."""

    def __init__(self) -> None:
        super().__init__()
        self.sign = asyncio.Event()

    async def run(self, *args: Any, **kwargs: Any) -> Any:
        await self.sign.wait()
        return await super().run(*args, **kwargs)


async def test_who_left_needs_no_answer() -> None:
    """A program ended without a result that it had asked material for."""
    device = LateDevice()
    async with dealing(device) as (exchanges, task):
        request(exchanges, 0, msgspec.json.encode(TRUNCATION))
        request(exchanges, 1, b"")
        closing = asyncio.create_task(exchanges[1].close())
        async with asyncio.timeout(20):
            while not exchanges[2].has_left(1):  # noqa: ASYNC110 (nothing tells of it)
                await asyncio.sleep(0.01)
            device.sign.set()
            await task
        await closing
