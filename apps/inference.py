"""One party's model on another party's input: its weights hidden, and what runs before the input.

The apps that do this differ in what they read and in what they reveal; here is what is the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from apps.model_file import ModelSettings
from mpcnet.app import Events
from mpcnet.session import Session

__all__ = ["Slot", "hidden_model", "run_ahead"]

T = TypeVar("T")

Slot: TypeAlias = "asyncio.Future[Tensor] | None"
"""Where an input will stand, at its owner; None at others. For `Session.share`."""


async def hidden_model(
    session: Session, settings: ModelSettings[Any], events: Events
) -> tuple[nn.Module, float]:
    """The model on shares of its weights, and the seconds that it took to hide them.

    Raises:
        ConfigError, ModelFileError: at the weights' owner; see `ModelSettings.own_model`.
    """
    started = time.perf_counter()
    events("phase", {"what": "setup", "item": "weights"})
    model = session.private(settings.own_model(session.name), owner=settings.model_owner)
    await session.prepared()
    return model, time.perf_counter() - started


async def run_ahead(
    session: Session, own: Tensor | None, program: Callable[[Slot], Awaitable[T]], events: Events
) -> tuple[T, dict[str, float]]:
    """Runs a program before its input enters it, so that only what depends on the input is left.

    Args:
        own: the input, at its owner.
        program: shares what it is given and begins to reveal what it makes of that.

    Returns:
        What was revealed; and what it took: `offline_seconds` before the input, `seconds` from
        there, at others than the owner until all are through.
    """
    started = time.perf_counter()
    events("phase", {"what": "offline"})
    slot: Slot = None if own is None else asyncio.get_running_loop().create_future()
    with torch.no_grad():
        revealed = asyncio.ensure_future(program(slot))
    await session.prepared()
    ready = time.perf_counter()
    events("phase", {"what": "online"})
    if slot is not None and own is not None:
        slot.set_result(own)
    value = await revealed
    done = time.perf_counter()
    await session.barrier()
    if own is None:
        done = time.perf_counter()
    return value, {"seconds": done - ready, "offline_seconds": ready - started}
