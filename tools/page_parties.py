"""The computing parties of the speech page in this process, each with a door of its own.

For its tests and its pictures; organizations run `mpcnet serve speech` (docs/live-speech.md).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

import mpcnet
from apps.speech.config import SpeechConfig
from apps.speech.live.steps import follow
from apps.speech.live.switchboard import Pace, Switchboard
from apps.speech.page.server import Page, open_page
from apps.speech.program import PageSettings
from mpcnet import Session

__all__ = ["Service", "serving"]


@dataclass(frozen=True)
class Service:
    """Parties that serve the page.

    Attributes:
        url: the page of the first party.
        pages: by the party's name.
    """

    url: str
    pages: dict[str, Page]


@asynccontextmanager
async def serving(
    config: SpeechConfig,
    model: nn.Module,
    *,
    names: Sequence[str] = ("clinic", "lab"),
    pace: Pace | None = None,
    network: str | None = None,
    wrap: Callable[[str, Page], Page] = lambda _, page: page,
) -> AsyncIterator[Service]:
    """While entered, browsers may speak. The first party leads, the last one has the model.

    Args:
        network: an emulated one between the parties.
        wrap: sees every page before it is used.
    """
    parties = {name: f"http://127.0.0.1:{_unused_port()}" for name in names}
    async with AsyncExitStack() as stack:
        pages = {}
        for name, url in parties.items():
            settings = PageSettings(listen=url.removeprefix("http://"), parties=parties)
            opening = open_page(settings, config, name, lambda name, fields: None, pace=pace)
            pages[name] = wrap(name, await stack.enter_async_context(opening))
        async with _computing(config, model, pages, pace, network):
            yield Service(parties[names[0]], pages)


@asynccontextmanager
async def _computing(
    config: SpeechConfig,
    model: nn.Module,
    pages: dict[str, Page],
    pace: Pace | None,
    network: str | None,
) -> AsyncIterator[None]:
    names = list(pages)
    opened: asyncio.Future[Switchboard] = asyncio.get_running_loop().create_future()

    async def program(session: Session) -> None:
        own = session.name == names[-1]
        with torch.device("meta"):
            architecture = config.build()
        private = session.private(deepcopy(model) if own else architecture, owner=names[-1])
        page = pages[session.name]
        if session.rank:
            ready = partial(page.began, session, None)
            await follow(session, private, config, owner=0, guests=page, ready=ready)
        else:
            board = Switchboard(session, private, config, owner=0, pace=pace)
            opened.set_result(board)
            await board.run(partial(page.began, session, board))

    running = asyncio.ensure_future(mpcnet.local(names, network=network).run(program))
    try:
        await asyncio.wait((running, opened), return_when=asyncio.FIRST_COMPLETED)
        yield
        if opened.done():
            opened.result().close()
        await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
