"""A speech client on the command line: a WAV file, or samples on standard input, to a gateway.

python -m apps.speech.live.client ws://127.0.0.1:8765/v1/realtime recording.wav
arecord -t raw -f S16_LE -r 16000 | python -m apps.speech.live.client URL --rate 16000
python -m apps.speech.live.client wss://speech.clinic.example:8765/v1/realtime --token FILE x.wav
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import aiohttp
import msgspec
import torch
from torch import Tensor

from apps.speech.audio import Resampler, wav_blocks
from apps.speech.live.capture import BLOCK_S, paced
from apps.speech.live.site import loopback
from mpcnet.errors import AppError

__all__ = ["Access", "main", "of_file", "of_stream", "talk"]

_FILE_RATE = 16_000
_PIECE_S = 1.0  # read at a time
_EVENT = "conversation.item.input_audio_transcription"


@dataclass(frozen=True, repr=False)
class Access:
    """How a gateway with TLS and a login lets somebody in.

    Attributes:
        token: that it wants to see; None shows none.
        pin: SHA-256 of the one certificate that it may show; None takes what this machine trusts.
    """

    token: str | None = None
    pin: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Of the request."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    @property
    def trust(self) -> aiohttp.Fingerprint | bool:
        """What aiohttp checks a certificate with."""
        return True if self.pin is None else aiohttp.Fingerprint(self.pin)


_ANYBODY = Access()


async def of_file(path: Path) -> AsyncIterator[bytes]:
    """A recording, however long, as 16-bit samples at 16 kHz, as fast as it was spoken."""
    resampler: Resampler | None = None
    async for block in paced(wav_blocks(path, _PIECE_S)):
        resampler = resampler or Resampler(block.rate, _FILE_RATE)
        yield _encoded(resampler.push(block.samples))
    if resampler is not None:
        yield _encoded(resampler.flush())


def _encoded(samples: Tensor) -> bytes:
    sound: bytes = (samples.clamp(-1, 1) * 32767).to(torch.int16).numpy().tobytes()
    return sound


async def of_stream(stream: BinaryIO, rate: int) -> AsyncIterator[bytes]:
    """Raw 16-bit little-endian mono samples, as they come."""
    size = 2 * round(BLOCK_S * rate)
    while sound := await asyncio.to_thread(stream.read, size):
        yield sound[: len(sound) // 2 * 2]


async def talk(
    url: str,
    sound: AsyncIterator[bytes],
    rate: int,
    show: Callable[[str], None],
    access: Access = _ANYBODY,
) -> str:
    """Sends the sound as one utterance.

    Args:
        show: is told each piece of text when it comes.

    Returns:
        The whole transcript.

    Raises:
        AppError: nobody listens there, it lets us not in, or the transcription failed; or the way
            there is not encrypted, and a token would go over it.
    """
    _check_way(url, access)
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(url, headers=access.headers, ssl=access.trust) as socket,
        ):
            sending = asyncio.ensure_future(_send(socket, sound, rate))
            try:
                return await _receive(socket, show)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    except aiohttp.WSServerHandshakeError as error:
        why = "give its token" if error.status == 401 else error.message
        raise AppError(f"the gateway at {url} refuses ({error.status}): {why}") from error
    except aiohttp.ServerFingerprintMismatch as error:
        raise AppError(f"{url} shows another certificate than the pinned one") from error
    except aiohttp.ClientError as error:
        raise AppError(f"no gateway answers at {url}: {error}") from error


def _check_way(url: str, access: Access) -> None:
    """A token is for a gateway with TLS, or one of this machine; and a pin is for TLS."""
    way = urlsplit(url)
    if way.scheme == "wss" or access == _ANYBODY:
        return
    if access.pin is not None or not loopback(way.hostname or ""):
        raise AppError(f"{url} is not encrypted: with --token or --pin the address is wss://...")


async def _send(
    socket: aiohttp.ClientWebSocketResponse, sound: AsyncIterator[bytes], rate: int
) -> None:
    format_ = {"format": {"type": "audio/pcm", "rate": rate}, "turn_detection": None}
    session = {"type": "transcription", "audio": {"input": format_}}
    await socket.send_json({"type": "session.update", "session": session})
    async for block in sound:
        audio = base64.b64encode(block).decode()
        await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})
    await socket.send_json({"type": "input_audio_buffer.commit"})


async def _receive(socket: aiohttp.ClientWebSocketResponse, show: Callable[[str], None]) -> str:
    async for message in socket:
        event = msgspec.json.decode(message.data, type=dict[str, msgspec.Raw])
        kind = msgspec.json.decode(event["type"], type=str)
        if kind == f"{_EVENT}.delta":
            show(msgspec.json.decode(event["delta"], type=str))
        elif kind == f"{_EVENT}.completed":
            return msgspec.json.decode(event["transcript"], type=str)
        elif kind in ("error", f"{_EVENT}.failed"):
            error = msgspec.json.decode(event["error"], type=dict[str, str | None])
            raise AppError(f"the gateway says: {error.get('message')}")
    raise AppError("the gateway closed the connection before the text was whole")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url", help="of the gateway")
    parser.add_argument("recording", nargs="?", type=Path, help="WAV; default: standard input")
    parser.add_argument("--rate", type=int, default=16_000, help="of standard input")
    parser.add_argument("--token", type=Path, metavar="FILE", help="with the gateway's token")
    parser.add_argument(
        "--pin",
        type=_pin,
        metavar="SHA256",
        help="fingerprint of its certificate; default: what this machine trusts",
    )
    arguments = parser.parse_args()
    if arguments.recording is not None:
        sound, rate = of_file(arguments.recording), _FILE_RATE
    else:
        sound, rate = of_stream(sys.stdin.buffer, arguments.rate), arguments.rate
    try:
        token = arguments.token and arguments.token.read_text().strip()
        asyncio.run(talk(arguments.url, sound, rate, _show, Access(token, arguments.pin)))
    except (AppError, OSError) as error:
        raise SystemExit(f"mpcnet: {error}") from None
    print()


def _pin(text: str) -> bytes:
    """As `mpcnet keygen` and openssl print it."""
    digest = bytes.fromhex(text.lower().removeprefix("sha256:").replace(":", ""))
    if len(digest) != hashlib.sha256().digest_size:
        raise argparse.ArgumentTypeError("is no SHA-256")
    return digest


def _show(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    main()
