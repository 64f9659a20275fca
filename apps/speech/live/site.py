"""Where this machine listens for clients: who may come, and what they need for it."""

from __future__ import annotations

import hmac
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from aiohttp import web

from mpcnet.errors import AppError

__all__ = ["Login", "Site", "TLSFiles"]

_SHORTEST_TOKEN = 16  # characters
_LONGEST_TOKEN_BYTES = 4096
_BEARER = "bearer "


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
        return hmac.compare_digest(shown[len(_BEARER) :].strip().encode(), self._token)


class Site:
    """An address of this machine at which an application is served.

    Attributes:
        url: `http://host:port`, or `https://` with TLS.
    """

    def __init__(self, url: str, runner: web.AppRunner) -> None:
        self.url = url
        self._runner = runner

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
        if missing and not _loopback(host):
            raise AppError(
                f"{what} cannot listen at {address}: without {' and '.join(missing)} it is for "
                f"this machine alone; listen at 127.0.0.1, or give certificate, key and token"
            )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            context = None if tls is None else tls.context()
            await web.TCPSite(runner, host, port, ssl_context=context).start()
        except OSError as error:
            await runner.cleanup()
            raise AppError(f"{what} cannot listen at {address}: {error.strerror}") from error
        except AppError:
            await runner.cleanup()
            raise
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        return cls(f"{'http' if tls is None else 'https'}://{shown}:{bound}", runner)

    async def close(self) -> None:
        """Ends all connections."""
        await self._runner.cleanup()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 1 << 16:
        raise AppError(f"{address!r} is no address to listen at, such as 127.0.0.1:8765")
    return host.strip("[]"), int(port)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may mean anything
