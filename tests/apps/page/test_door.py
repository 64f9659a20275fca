"""Who comes in at a party's door, and who does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from apps.page import door as doors
from apps.page.door import SOCKET, Bucket, Door
from apps.page.frames import Kind, Request
from apps.page.guests import Guests
from apps.speech.live import site as sites
from apps.speech.live.site import Site

PARTIES = {"clinic": "http://clinic.example:1", "lab": "https://lab.example"}
HELLO = Request(Kind.HELLO, body=bytes(16)).encode()


class Opened:
    """A door, and who asks at it."""

    def __init__(self, folder: Path) -> None:
        (folder / "index.html").write_text("<p>the page")
        (folder / "secret.key").write_text("nothing for browsers")
        self.up = True
        self.guests = Guests(lambda size: 8 * size, most=16)
        self.guests.begin(None)
        self.door = Door(
            {"x": folder},
            PARTIES,
            self.guests,
            longest=128,
            welcome=lambda: {"party": "lab"} if self.up else None,
            settings=lambda: {"party": "lab"},
        )
        self.url = ""


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    opened = Opened(tmp_path)
    site = await Site.open(opened.door.application(), "127.0.0.1:0", guarded=True, what="the page")
    opened.url = site.url
    yield opened
    await site.close()


async def conversation(opened: Opened, *messages: bytes | str) -> list[Any]:
    """What a browser hears that says all this, and how it ended."""
    heard: list[Any] = []
    async with aiohttp.ClientSession() as http, http.ws_connect(opened.url + SOCKET) as socket:
        for message in messages:
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
        async for event in socket:
            if event.type is WSMsgType.TEXT:
                heard.append(event.json())
                if heard[-1]["type"] == "welcome" and len(messages) == 1:
                    return heard
        heard.append(socket.close_code)
    return heard


async def test_files_come_with_a_policy_that_lets_them_talk_to_the_parties_alone(
    opened: Opened,
) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(opened.url + "/") as response:
            assert await response.text() == "<p>the page"
            policy = response.headers["Content-Security-Policy"]
        async with http.get(opened.url + "/page.json") as response:
            assert await response.json() == {"party": "lab"}
        for path in ("/x/secret.key", "/x/../index.html", "/x/", "/y/index.html"):
            async with http.get(opened.url + path) as response:
                assert response.status in (403, 404) or path.endswith("../index.html")
    assert "connect-src 'self' ws://clinic.example:1 wss://lab.example;" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_a_browser_is_welcomed(opened: Opened) -> None:
    assert await conversation(opened, HELLO) == [
        {"type": "welcome", "party": "lab", "leads": False}
    ]


@pytest.mark.parametrize(
    "messages",
    [
        (HELLO, b"nonsense"),
        (HELLO, "text"),
        (HELLO, HELLO),
        (HELLO, Request(Kind.SHARE, 0, 16, bytes(128)).encode()),  # it has not joined
        (Request(Kind.JOIN).encode(),),
        ("text",),
    ],
    ids=["nonsense", "text", "hello", "share", "no greeting", "text first"],
)
async def test_who_breaks_the_rules_is_hung_up_on(
    opened: Opened, messages: tuple[bytes | str, ...]
) -> None:
    heard = await conversation(opened, *messages)
    assert heard[-2]["type"] == "over"
    assert heard[-1] == 1008
    assert not opened.guests.busy


async def test_a_message_that_is_too_long_is_not_even_read(opened: Opened) -> None:
    heard = await conversation(opened, HELLO, bytes(145))
    assert heard[-1] in (1006, 1008, 1009)
    assert not opened.guests.busy


async def test_a_flood_is_stopped(opened: Opened) -> None:
    share = Request(Kind.SHARE, 0, 1, bytes(8)).encode()
    opened.guests.hear = lambda guest, request: None  # type: ignore[method-assign]
    heard = await conversation(opened, HELLO, *[share] * 400)
    assert "too many" in heard[-2]["why"]


async def deaf(opened: Opened, socket: aiohttp.ClientWebSocketResponse, told: int) -> None:
    """Somebody who came in, and reads nothing of so many answers."""
    await socket.send_bytes(HELLO)
    await socket.receive()
    assert socket._response.connection is not None
    socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]
    (guest,) = opened.guests._guests.values()
    for _ in range(told):
        guest.tell(bytes(1 << 18))
        await asyncio.sleep(0)


async def test_who_does_not_read_what_it_is_told_is_let_go(opened: Opened) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(opened.url + SOCKET) as socket:
        await deaf(opened, socket, 200)
        async with asyncio.timeout(5):
            while opened.guests.busy:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_door_closes_soon_whoever_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "_FAREWELL_S", 0.05)
    monkeypatch.setattr(sites, "_CLOSING_S", 0.05)
    opened = Opened(tmp_path)
    site = await Site.open(opened.door.application(), "127.0.0.1:0", guarded=True, what="the page")
    opened.url = site.url
    async with aiohttp.ClientSession() as http, http.ws_connect(opened.url + SOCKET) as socket:
        await deaf(opened, socket, 40)
        async with asyncio.timeout(10):
            await site.close()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://clinic.example:1", 101),
        ("https://lab.example", 101),
        ("http://lab.example", 403),
        ("https://elsewhere.example", 403),
        ("null", 403),
    ],
)
async def test_pages_of_the_parties_come_in_and_no_others(
    opened: Opened, origin: str, status: int
) -> None:
    async with aiohttp.ClientSession(headers={"Origin": origin}) as http:
        if status == 101:
            async with http.ws_connect(opened.url + SOCKET):
                return
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await http.ws_connect(opened.url + SOCKET)


async def test_nobody_comes_in_while_the_parties_are_apart(opened: Opened) -> None:
    opened.up = False
    heard = await conversation(opened, HELLO)
    assert "no connection to each other" in heard[-2]["why"]
    assert heard[-2]["later"]


def test_a_bucket_empties_and_fills() -> None:
    bucket = Bucket(1e9, 2.0)
    assert bucket.take()
    assert bucket.take()
    slow = Bucket(1e-9, 2.0)
    assert [slow.take() for _ in range(3)] == [True, True, False]
