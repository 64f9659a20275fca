"""Where this machine listens for clients: who may come, and what they need for it."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from aiohttp import web

from mpcnet.errors import AppError

__all__ = ["Login", "Site", "TLSFiles", "loopback"]

_SHORTEST_TOKEN = 16  # characters
_LONGEST_TOKEN_BYTES = 4096
_BEARER = "bearer "
_MOST_CONNECTIONS = 512  # so that whoever comes leaves this process files for its peers
_REQUEST_S = 15.0  # for a request to be there whole
_HANDSHAKE_S = 10.0  # of TLS
_CLOSING_S = 2.0  # for what is under way


@dataclass(frozen=True)
class TLSFiles:
    """A certificate that clients' machines trust, with the chain behind it, and its key (PEM)."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """For a server.

        Raises:
            AppError: the files cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.key.stat().st_mode & 0o077:
                raise AppError(f"{self.key}: others can read this key; run chmod 600 on it")
            context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # and ssl.SSLError, which is one
            why = "do not fit" if isinstance(error, ssl.SSLError) else error.strerror
            raise AppError(f"{self.certificate} and {self.key}: {why}") from None
        return context


class Login:
    """A token that clients show as `Authorization: Bearer TOKEN`."""

    def __init__(self, token: bytes) -> None:
        self._token = token

    def __repr__(self) -> str:
        return "Login(hidden)"

    @classmethod
    def of_file(cls, file: Path) -> Self:
        """The token is the file's one line.

        Raises:
            AppError: it cannot be read, others may read it, or it is too short to keep anybody out.
        """
        try:
            mode, text = file.stat().st_mode, file.read_bytes()[:_LONGEST_TOKEN_BYTES]
        except OSError as error:
            raise AppError(f"{file}: {error.strerror}") from None
        token = text.strip()
        if mode & 0o077:
            raise AppError(f"{file}: others can read this token; run chmod 600 on it")
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or len(token.split()) != 1:
            raise AppError(
                f"{file}: a token is one line of at least {_SHORTEST_TOKEN} characters; "
                f"make one with `openssl rand -hex 32`"
            )
        return cls(token)

    def admits(self, request: web.Request) -> bool:
        """Whether the request shows the token."""
        shown = request.headers.get("Authorization", "")
        if shown[: len(_BEARER)].lower() != _BEARER:
            return False
        token = shown[len(_BEARER) :].strip().encode(errors="surrogateescape")  # any bytes
        return hmac.compare_digest(token, self._token)


class _OneTooMany(asyncio.Protocol):
    """A connection that there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class Site:
    """An address of this machine at which an application is served.

    Whoever connects and says nothing, or something very slowly, is let go.

    Attributes:
        url: `http://host:port`, or `https://` with TLS.
    """

    def __init__(self, url: str, runner: web.AppRunner, listening: asyncio.Server) -> None:
        self.url = url
        self._runner, self._listening = runner, listening

    @classmethod
    async def open(
        cls,
        application: web.Application,
        address: str,
        *,
        tls: TLSFiles | None = None,
        guarded: bool,
        what: str,
    ) -> Self:
        """Listens.

        Args:
            address: `host:port`; port 0 for any that is free.
            guarded: whether the application asks clients for a login, or is meant for anybody.
                Without it, and without TLS, nobody but this machine is let in.
            what: is served, for errors.

        Raises:
            AppError: the address is not one to listen at, or what is needed for it is missing.
        """
        host, port = _split(address)
        missing = [n for n, there in (("TLS", tls), ("a login", guarded)) if not there]
        if missing and not loopback(host):
            raise AppError(
                f"{what} cannot listen at {address}: without {' and '.join(missing)} it is for "
                f"this machine alone; listen at 127.0.0.1, or give certificate, key and token"
            )
        context = None if tls is None else tls.context()
        runner = web.AppRunner(
            application, access_log=None, keepalive_timeout=_REQUEST_S, shutdown_timeout=_CLOSING_S
        )
        await runner.setup()
        try:
            listening = await _listen(runner, host, port, context)
        except OSError as error:
            await runner.cleanup()
            raise AppError(f"{what} cannot listen at {address}: {error.strerror}") from error
        bound = listening.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        return cls(f"{'http' if tls is None else 'https'}://{shown}:{bound}", runner, listening)

    async def close(self) -> None:
        """Ends all connections, within seconds."""
        self._listening.close()
        await self._runner.cleanup()


async def _listen(
    runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext | None
) -> asyncio.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the application was not set up")

    def arrive() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < _MOST_CONNECTIONS else _OneTooMany()

    handshake_s = None if context is None else _HANDSHAKE_S
    return await asyncio.get_running_loop().create_server(
        arrive, host, port, ssl=context, ssl_handshake_timeout=handshake_s
    )


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 1 << 16:
        raise AppError(f"{address!r} is no address to listen at, such as 127.0.0.1:8765")
    return host.strip("[]"), int(port)


def loopback(host: str) -> bool:
    """Whether an address is this machine's own, and nobody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may mean anything
