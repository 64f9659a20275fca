"""Who may come in: TLS, a token, and clients that harm nobody, whatever they send."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from apps.speech.live import gateway as gateways
from apps.speech.live import site as sites
from apps.speech.live.capture import Block
from apps.speech.live.client import Access, of_stream, talk
from apps.speech.live.desk import Desk
from apps.speech.live.gateway import Gateway
from apps.speech.live.meter import Meter
from apps.speech.live.site import Login, TLSFiles
from apps.speech.live.switchboard import Heard
from mpcnet.errors import AppError
from transports.identity import create_identity, fingerprint, write_identity

TOKEN = "0123456789abcdef0123"


class Parrot(Desk):
    """Says how many samples it heard, when the utterance ends."""

    async def transcribe(
        self, blocks: AsyncIterator[Block], tell: Callable[[Heard, Meter], None], **_: object
    ) -> Meter:
        heard = number = 0
        async for block in blocks:
            heard += len(block.samples)
            await asyncio.sleep(0)
            if block.last:
                tell(Heard(number, f"{heard} samples", True, 0, None), Meter())  # type: ignore[arg-type]
                heard, number = 0, number + 1
        return Meter()


@pytest.fixture
def tls(tmp_path: Path) -> TLSFiles:
    files = TLSFiles(tmp_path / "gateway.crt", tmp_path / "gateway.key")
    write_identity(create_identity("gateway"), files.key, files.certificate)
    return files


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(f"{TOKEN}\n")
    return file


async def test_a_gateway_with_tls_and_a_login(tls: TLSFiles, token: Path) -> None:
    gateway = await Gateway.open(Parrot(), "127.0.0.1:0", tls=tls, login=Login.of_file(token))
    assert gateway.url.startswith("wss://127.0.0.1:")
    shown = fingerprint(tls.certificate.read_bytes())
    digest = bytes.fromhex(shown.removeprefix("sha256:"))

    async def say(access: Access) -> str:
        sound = of_stream(io.BytesIO(bytes(400)), 8000)
        return await talk(gateway.url, sound, 8000, lambda _: None, access)

    assert await say(Access(TOKEN, digest)) == "200 samples"
    for wrong in (None, "another token, as long as it is", TOKEN.upper()):
        with pytest.raises(AppError, match=r"401.*give its token"):
            await say(Access(wrong, digest))
    async with aiohttp.ClientSession() as http:  # any bytes are a wrong token, and no more
        shown = {"Authorization": b"Bearer \xff\xfe".decode(errors="surrogateescape")}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await http.ws_connect(gateway.url, headers=shown, ssl=Access(None, digest).trust)
    with pytest.raises(AppError, match="another certificate"):
        await say(Access(TOKEN, bytes(32)))
    with pytest.raises(AppError, match="no gateway answers"):
        await say(Access(TOKEN))  # no authority that this machine trusts vouches for it
    await gateway.close()


async def test_no_token_goes_over_a_line_that_is_not_encrypted() -> None:
    for url, access in (
        ("ws://clinic.example:8765/v1/realtime", Access(TOKEN)),
        ("ws://127.0.0.1:1/v1/realtime", Access(TOKEN, bytes(32))),
    ):
        with pytest.raises(AppError, match="is not encrypted"):
            await talk(url, of_stream(io.BytesIO(), 8000), 8000, lambda _: None, access)


async def test_beyond_this_machine_only_with_both(tls: TLSFiles, token: Path) -> None:
    login = Login.of_file(token)
    for address in ("0.0.0.0:0", "192.0.2.1:0", "localhost:0", "[::]:0"):
        for given, lacking in (
            ({}, "TLS and a login"),
            ({"tls": tls}, "a login"),
            ({"login": login}, "TLS"),
        ):
            with pytest.raises(AppError, match=f"without {lacking} it is for this machine alone"):
                await Gateway.open(Desk(), address, **given)  # type: ignore[arg-type]
    both = await Gateway.open(Desk(), "0.0.0.0:0", tls=tls, login=login)
    await both.close()
    with pytest.raises(AppError, match="no address"):
        await Gateway.open(Desk(), "8765")


def test_files_that_keep_nobody_out_are_refused(tls: TLSFiles, token: Path) -> None:
    assert TOKEN not in repr(Login.of_file(token))
    for text in ("short", "two words, however long they are", "é" * 20):
        token.write_text(text)
        with pytest.raises(AppError, match="at least 16 characters"):
            Login.of_file(token)
    token.chmod(0o640)
    tls.key.chmod(0o644)
    for use in (lambda: Login.of_file(token), tls.context):
        with pytest.raises(AppError, match="chmod 600"):
            use()
    tls.key.chmod(0o600)
    tls.key.write_text("no key")
    with pytest.raises(AppError, match="do not fit"):
        tls.context()
    with pytest.raises(AppError, match="No such file"):
        Login.of_file(token.with_name("none"))


async def test_who_connects_and_says_nothing_or_too_slowly_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sites, "_REQUEST_S", 0.3)
    monkeypatch.setattr(sites, "_MOST_CONNECTIONS", 2)
    gateway = await Gateway.open(Parrot())
    port = int(gateway.url.split(":")[2].split("/")[0])
    silent, writer = await asyncio.open_connection("127.0.0.1", port)
    slow, slowly = await asyncio.open_connection("127.0.0.1", port)
    slowly.write(b"GET /v1/realtime HTTP/1.1\r\nHost: ")
    await asyncio.sleep(0.05)
    third, late = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(5):
        (refused,) = await asyncio.gather(third.read(), return_exceptions=True)
        assert not refused or isinstance(refused, ConnectionError)  # there is no room
        assert not await silent.read()
        assert not await slow.read()
    for each in (writer, slowly, late):
        each.close()
    await gateway.close()


async def ended(socket: aiohttp.ClientWebSocketResponse) -> list[str]:
    """Kinds of all that comes until the gateway closes."""
    async with asyncio.timeout(10):
        return [json.loads(message.data)["type"] async for message in socket]


async def test_clients_that_send_what_they_should_not(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = await Gateway.open(Parrot())
    loud = json.dumps(
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(8000)).decode()}
    )
    clear = json.dumps({"type": "input_audio_buffer.clear"})
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(gateway.url) as garbage:
            await garbage.send_bytes(b"\0\1")
            for number in range(150):
                await garbage.send_str('{"type": "input_audio_buffer.app' + number * "[")
            kinds = await ended(garbage)
            assert kinds[1:] == 100 * ["error"]
        async with http.ws_connect(gateway.url) as large:
            await large.send_str(" " * (1 << 20) + clear)
            assert await ended(large) == ["session.created"]
            assert large.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        async with http.ws_connect(gateway.url) as fast:  # waits, and loses nothing
            await fast.send_str(
                '{"type":"session.update","session":{"audio":{"input":{"turn_detection":null}}}}'
            )
            for _ in range(400):
                await fast.send_str(loud)
            await fast.send_str('{"type":"input_audio_buffer.commit"}')
            async for message in fast:
                if (event := json.loads(message.data))["type"].endswith("completed"):
                    assert event["transcript"] == f"{400 * 4000} samples"
                    break
        monkeypatch.setattr(gateways, "_MOST_UNREAD", 3)
        async with http.ws_connect(gateway.url) as deaf:
            for _ in range(50):
                await deaf.send_str(clear)
            assert len(await ended(deaf)) < 50
        monkeypatch.setattr(gateways, "_MOST_CLIENTS", 0)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await http.ws_connect(gateway.url)
    await gateway.close()
