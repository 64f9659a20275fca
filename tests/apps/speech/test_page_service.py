"""A guest of the service who is no browser, while sessions come and go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import torch
from aiohttp import WSMsgType
from torch import Tensor

from apps.page.door import SOCKET
from apps.page.frames import Answer, Kind, Request
from apps.speech.features import log_mel
from apps.speech.live.steps import Step, _serve
from apps.speech.live.switchboard import Pace
from apps.speech.page.server import Page, open_page
from apps.speech.program import PageSettings
from mpcnet.app import DemoPlan
from mpcnet.demo import free_ports, lay_out
from mpcnet.errors import AppError, Divergence
from mpcnet.outside import OutsideShare, joined, split
from tests.apps.speech.test_service import Participant
from tests.apps.speech.tiny_live import CONFIG, network, speech

CLASSES = len(CONFIG.alphabet)


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[dict[str, Participant]]:
    CONFIG.save(tmp_path / "live.safetensors", network())
    public = {
        "model_owner": "lab",
        "recording_owner": "clinic",
        "model": msgspec.to_builtins(CONFIG),
    }
    with free_ports(2) as ports:
        places = dict(zip(("clinic", "lab"), (f"127.0.0.1:{port}" for port in ports), strict=True))
    doors = {name: f"http://{place}" for name, place in places.items()}
    live = {name: {"page": {"listen": place, "parties": doors}} for name, place in places.items()}
    lab = {**public, "live": live["lab"], "weights": "live.safetensors"}
    plan = DemoPlan(["clinic", "lab"], {"clinic": {**public, "live": live["clinic"]}, "lab": lab})
    files = lay_out(plan, "speech", tmp_path, "tcp")
    participants = {name: Participant(file) for name, file in files.items()}
    yield participants
    for each in participants.values():
        each.stop.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*(each.task for each in participants.values()), return_exceptions=True)


class Guest:
    """Somebody with a connection to every party."""

    def __init__(self, sockets: list[aiohttp.ClientWebSocketResponse]) -> None:
        self.sockets = sockets

    async def tell(self, request: Request, *, leader: bool = False) -> None:
        for socket in self.sockets[:1] if leader else self.sockets:
            await socket.send_bytes(request.encode())

    async def event(self, kind: str) -> list[dict[str, Any]]:
        """The next one of all parties."""
        events = [msgspec.json.decode(await socket.receive_str()) for socket in self.sockets]
        assert [event["type"] for event in events] == [kind] * len(events), events
        return events

    async def join(self) -> None:
        await self.tell(Request(Kind.HELLO, body=os.urandom(16)))
        welcomes = await self.event("welcome")
        assert [welcome["leads"] for welcome in welcomes] == [True, False]
        assert welcomes[0]["app"] == welcomes[1]["app"]
        await self.tell(Request(Kind.JOIN), leader=True)
        await self.event("joined")

    async def say(self, number: int, features: Tensor) -> Tensor:
        """Logits of a chunk; of an end where there are no features."""
        frames = features.shape[2]
        if frames:
            await self.tell(Request(Kind.OPEN, number, frames), leader=True)
            for socket, share in zip(self.sockets, split(features, 2), strict=True):
                await socket.send_bytes(Request(Kind.SHARE, number, frames, share).encode())
        else:
            await self.tell(Request(Kind.END, number), leader=True)
        answers = [Answer.decode(await socket.receive_bytes()) for socket in self.sockets]
        assert {answer.number for answer in answers} == {number}
        shares = [OutsideShare(a.share, a.scale_bits, a.rounds) for a in answers]
        return joined(shares, (1, CLASSES, answers[0].size))


async def test_guests_come_and_go_as_sessions_do(three: dict[str, Participant]) -> None:
    clinic, lab = three["clinic"], three["lab"]
    features = log_mel(speech(0.5, 1), CONFIG)[None, :, :48]
    wanted = network()(features)

    async def utterance(guest: Guest, first: int) -> None:
        pieces = [await guest.say(first, features[:, :, :20])]
        pieces.append(await guest.say(first + 1, features[:, :, 20:]))
        pieces.append(await guest.say(first + 2, features[:, :, :0]))
        torch.testing.assert_close(torch.cat(pieces, dim=2), wanted, atol=1e-3, rtol=0)

    async def visit(http: aiohttp.ClientSession) -> Guest:
        urls = [
            next(iter([await each.urls.get()])).removeprefix("page: ") for each in (clinic, lab)
        ]
        await asyncio.gather(clinic.ready.wait(), lab.ready.wait())
        return Guest([await http.ws_connect(url + SOCKET) for url in urls])

    async with aiohttp.ClientSession() as http:
        guest = await visit(http)
        await guest.join()
        await utterance(guest, 0)
        await utterance(guest, 3)
        await guest.say(6, features[:, :, :20])
        clinic.stop.set()  # in order: what is under way is heard out
        assert (await guest.sockets[0].receive_json())["type"] == "stopping"
        assert (await guest.sockets[1].receive_json())["type"] == "stopping"
        await guest.say(7, features[:, :, 20:])
        await guest.say(8, features[:, :, :0])
        await asyncio.gather(*(socket.close() for socket in guest.sockets))
        await clinic.task
        lab.urls.put_nowait(clinic.config.app["live"]["page"]["parties"]["lab"])
        lab.ready.clear()
        clinic.start()  # the lab's door stayed where it was
        guest = await visit(http)
        await guest.join()
        await utterance(guest, 0)
        await lab.crash()  # and this one breaks off
        message = await guest.sockets[0].receive()
        assert message.type is WSMsgType.TEXT
        assert message.json()["type"] == "over"


async def test_what_another_party_does_wrong_ends_no_server() -> None:
    """An AppError would: the leader names a guest whom nobody has."""
    step = Step("chunk", frames=4, guest="0f" * 16)
    with pytest.raises(Divergence, match="guest"):
        await _serve(None, network(), CONFIG, step, {}, None)  # type: ignore[arg-type]


def test_a_page_keeps_no_session_after_its_end() -> None:
    page = PageSettings(listen="127.0.0.1:0", parties={"lab": "https://lab.example"})
    opened = Page(page, CONFIG, "lab", Pace())
    opened.began(object(), None)  # type: ignore[arg-type]
    opened._up = False  # whatever it was doing
    opened.over("the link broke")
    assert opened._session is None  # which holds shares of the model


async def test_a_door_has_an_address(tmp_path: Path) -> None:
    page = PageSettings(listen="127.0.0.1:0", parties={"lab": "https://lab.example"})
    with pytest.raises(AppError, match="no address of clinic"):
        async with open_page(page, CONFIG, "clinic", lambda name, fields: None):
            pass
    for wrong in ({"parties": {"lab": "lab.example"}}, {"parties": {}, "key": tmp_path}):
        with pytest.raises(ValueError, match="page"):
            PageSettings(listen="127.0.0.1:0", **wrong)
