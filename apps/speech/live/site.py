"""Where an application of this organization listens."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

from aiohttp import web

from mpcnet.errors import AppError

__all__ = ["Site", "listen"]


class Site:
    """An application that is being served.

    Attributes:
        url: where.
    """

    def __init__(self, runner: web.AppRunner, url: str) -> None:
        self._runner, self.url = runner, url

    async def close(self) -> None:
        """Ends all connections."""
        await self._runner.cleanup()


async def listen(
    application: web.Application,
    address: str,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    public: bool = False,
) -> Site:
    """Listens at "host:port".

    Raises:
        AppError: it is beyond this machine without TLS, or the port is taken.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    secure = certificate is not None and key is not None
    if not loopback and not (public and secure):
        raise AppError(f"cannot listen at {host!r} without TLS: give 127.0.0.1, or a certificate")
    context = None
    if certificate is not None and key is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, int(port), ssl_context=context).start()
    except OSError as error:
        await runner.cleanup()
        raise AppError(f"cannot listen at port {port}: {error.strerror}") from error
    bound = runner.addresses[0][1]
    scheme = "http" if context is None else "https"
    return Site(runner, f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}")
