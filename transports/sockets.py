"""Sockets for the transports that use them: addresses, dialling, accepting, one set of errors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

from transports.base import Listener
from transports.errors import AddressError, IdentityError, Unreachable
from transports.tls import tls_reason

__all__ = [
    "Acceptor",
    "close_if_cancelled",
    "connected_socket",
    "dial_errors",
    "dial_socket",
    "host_and_port",
    "place",
    "secure_accepted",
    "secure_dialled",
    "unsent_bytes",
]

_log = structlog.get_logger(__name__)

_TLS_HANDSHAKE_S: Final = 10.0
_TLS_SHUTDOWN_S: Final = 1.0
_PENDING: Final = 64  # connections whose TLS handshake is under way
_BACKLOG: Final = 128
_ADDRESS_S: Final = 3.0  # for one address of a name, while there are others to try
_LAST_ADDRESS_S: Final = 10.0
_ALL_INTERFACES: Final = "::"
_BIND_ADVICE: Final = {
    errno.EADDRINUSE: "the port is in use; stop the other process or choose another port",
    errno.EACCES: "this user may not listen on that port; choose one above 1023",
    errno.EADDRNOTAVAIL: "no network interface of this machine has that address",
}


def host_and_port(url: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of a URL.

    Raises:
        AddressError: one of them is missing, or the port is no number.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressError(url, str(error)) from None
    port = default_port if port is None else port
    if not host or port is None:
        raise AddressError(url, "host and port are needed, as in tcp://party.example:7700")
    return host, port


def place(host: str, port: int) -> str:
    """Host and port as they stand in a URL: IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def connected_socket(url: str, host: str, port: int) -> socket.socket:
    """Connects to the first address of a host that answers; the resolver knows the best order.

    Raises:
        AddressError: the host is no possible name.
        OSError: what the last address said; socket.gaierror if the name does not resolve.
    """
    addresses = await _resolved(url, host, port)
    loop = asyncio.get_running_loop()
    for number, (family, kind, protocol, _, address) in enumerate(addresses, 1):
        last = number == len(addresses)
        dialling = socket.socket(family, kind, protocol)
        dialling.setblocking(False)
        try:
            async with asyncio.timeout(_LAST_ADDRESS_S if last else _ADDRESS_S):
                await loop.sock_connect(dialling, address)
        except OSError as error:  # TimeoutError is one
            dialling.close()
            if last:
                raise
            why = error.strerror or "no answer"
            _log.debug("another address", url=url, instead_of=address[0], why=why)
        except BaseException:
            dialling.close()
            raise
        else:
            return dialling
    raise OSError("the name has no address")


@contextlib.contextmanager
def dial_errors(url: str, through: str = "") -> Iterator[None]:
    """Turns what the system says while dialling into errors of this package.

    Args:
        through: said behind the reason, such as which proxy was asked.
    """
    try:
        yield
    except ssl.SSLError as error:
        raise IdentityError(f"whoever answers at {url}", tls_reason(error)) from None
    except socket.gaierror as error:
        raise Unreachable(url, f"the name cannot be resolved ({error.strerror}){through}") from None
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise Unreachable(url, why + through) from None


async def dial_socket(
    url: str,
    factory: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    context: ssl.SSLContext | None,
) -> asyncio.BaseProtocol:
    """Connects; the protocol that `factory` made is returned when TLS (if any) is done.

    Raises:
        Unreachable: nobody answers.
        IdentityError: TLS could not be agreed.
    """
    with dial_errors(url):
        dialled = await connected_socket(url, host, port)
        return await secure_dialled(factory, dialled, context, host)


async def secure_dialled(
    factory: Callable[[], asyncio.BaseProtocol],
    dialled: socket.socket,
    context: ssl.SSLContext | None,
    host: str,
) -> asyncio.BaseProtocol:
    """The protocol of a connected socket, when TLS (if any) is done. Raises OSError."""
    options: dict[str, Any] = {"server_hostname": host, **_tls_times()} if context else {}
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(factory, sock=dialled, ssl=context, **options)
    return protocol


async def secure_accepted(
    factory: Callable[[], asyncio.BaseProtocol],
    accepted: socket.socket,
    context: Callable[[], ssl.SSLContext] | None,
    who: str,
    on_stranger: Callable[[str, str], None],
) -> None:
    """Gives a socket that was dialled its protocol, or tells who was refused, and why."""
    options = _tls_times() if context else {}
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            factory, accepted, ssl=context() if context else None, **options
        )
    except IdentityError as error:
        accepted.close()
        on_stranger(who, str(error))
    except OSError as error:
        accepted.close()
        on_stranger(who, tls_reason(error) if isinstance(error, ssl.SSLError) else str(error))
    except BaseException:
        accepted.close()
        raise


def unsent_bytes(transport: asyncio.Transport) -> int:
    """What was written and has not been acknowledged by the other side's system: what waits in the
    event loop, and what waits in the socket. Where a system does not tell the second, the first;
    0 from the moment on when it is closed."""
    if transport.is_closing():  # the TLS one of asyncio cannot be asked any more
        return 0
    found = transport.get_extra_info("socket")
    if found is None:
        return 0
    waiting = transport.get_write_buffer_size()
    queued = bytearray(4)
    try:
        fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, queued)
    except (OSError, ValueError):  # another system, or a socket that is closed
        return waiting
    return waiting + int(struct.unpack("i", queued)[0])


class Acceptor(Listener):
    """A listening socket; each connection gets its protocol when its TLS handshake is done."""

    def __init__(
        self,
        url: str,
        listening: Sequence[socket.socket],
        context: Callable[[], ssl.SSLContext] | None,
        factory: Callable[[], asyncio.BaseProtocol],
        on_stranger: Callable[[str, str], None],
    ) -> None:
        self.url = url
        self._sockets = listening
        self._context = context
        self._factory = factory
        self._on_stranger = on_stranger
        self._pending: set[asyncio.Task[None]] = set()
        self._accepting = [
            asyncio.create_task(self._accept(each), name=f"accept at {url}") for each in listening
        ]

    @classmethod
    async def open(
        cls,
        url: str,
        context: Callable[[], ssl.SSLContext] | None,
        factory: Callable[[], asyncio.BaseProtocol],
        on_stranger: Callable[[str, str], None],
        default_port: int | None = None,
    ) -> Acceptor:
        """Begins to listen, at every address that the host has here.

        Args:
            context: makes one for each connection, since our identity may be renewed meanwhile.

        Raises:
            AddressError: the address cannot be listened on, and why.
        """
        host, port = host_and_port(url, default_port)
        listening = await _bound(url, host, port)
        chosen = listening[0].getsockname()[1]
        real = urlsplit(url)._replace(netloc=place(host, chosen)).geturl()
        return cls(real, listening, context, factory, on_stranger)

    async def close(self) -> None:
        for task in self._accepting:
            task.cancel()
        await asyncio.sleep(0)  # who has given its connection away already ends in this pass
        tasks = [*self._accepting, *self._pending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        _close(self._sockets)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors, or a connection that died in the queue
                _log.warning("cannot accept", url=self.url, why=error.strerror)
                await asyncio.sleep(0.1)
                continue
            if len(self._pending) >= _PENDING:
                accepted.close()
                continue
            task = asyncio.create_task(
                secure_accepted(
                    self._factory,
                    accepted,
                    self._context,
                    place(address[0], address[1]),
                    self._on_stranger,
                )
            )
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)
            task.add_done_callback(close_if_cancelled(accepted))


def close_if_cancelled(accepted: socket.socket) -> Callable[[asyncio.Task[None]], None]:
    """For a task that gives a socket its protocol: it may be cancelled before it has begun."""

    def ended(task: asyncio.Task[None]) -> None:
        if task.cancelled():
            accepted.close()

    return ended


def _tls_times() -> dict[str, Any]:
    return {"ssl_handshake_timeout": _TLS_HANDSHAKE_S, "ssl_shutdown_timeout": _TLS_SHUTDOWN_S}


async def _resolved(url: str, host: str, port: int) -> list[Any]:
    """Addresses of a host, as `socket.getaddrinfo` gives them, none twice."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a part of a name is empty or too long
        raise AddressError(url, f"{host[:64]!r} cannot be the name of a host") from None
    return list(dict.fromkeys(found))


async def _bound(url: str, host: str, port: int) -> list[socket.socket]:
    """Sockets that listen, one for each address of the host that this machine has.

    A name may have addresses of both kinds while the machine has one kind only: one is enough.
    """
    try:
        addresses = await _resolved(url, host, port)
    except socket.gaierror as error:
        raise AddressError(url, f"the name cannot be resolved ({error.strerror})") from None
    listening: list[socket.socket] = []
    missing: OSError | None = None
    for family, _, _, _, address in addresses:
        chosen = listening[0].getsockname()[1] if listening else port
        try:
            listening.append(_listening(family, str(address[0]), chosen))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                missing = error
                continue
            _close(listening)
            raise _cannot_listen(url, error) from None
    if not listening:
        raise _cannot_listen(url, missing or OSError("the name has no address"))
    return listening


def _listening(family: int, host: str, port: int) -> socket.socket:
    """One socket; at `[::]` it takes IPv4 as well, where the system can."""
    dual = host == _ALL_INTERFACES and socket.has_dualstack_ipv6()
    listening = socket.create_server(
        (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual
    )
    listening.setblocking(False)
    return listening


def _close(sockets: Sequence[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _cannot_listen(url: str, error: OSError) -> AddressError:
    why = _BIND_ADVICE.get(error.errno or 0, error.strerror or str(error))
    return AddressError(url, f"cannot listen: {why}")
