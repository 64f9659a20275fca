"""A demonstration: every participant as a process of its own on this machine, over loopback.

The launcher lays out what the participants would bring along themselves (keys, configurations),
starts `mpcnet party` and `mpcnet dealer` as anybody would, and reads their events.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mpcnet.child import Child, Failure, Watch
from mpcnet.errors import MpcnetError, consequence
from mpcnet.plan import DemoPlan
from mpcnet.tables import render_toml
from transports.errors import AddressError
from transports.identity import create_identity, write_identity

__all__ = ["TRANSPORTS", "DemoFailed", "first_failure", "lay_out", "run_participants"]

TRANSPORTS: Final[Mapping[str, tuple[str, bool]]] = {
    "tcp": ("tcp", False),
    "wss": ("wss", False),
    "tcp-plaintext": ("tcp", True),
    "ws-plaintext": ("ws", True),
}
"""What --transport takes: the scheme of the addresses, and whether TLS is left out."""

_PORTS: Final = (15_000, 32_000)
_PORT_ATTEMPTS: Final = 100
_CONNECT_TIMEOUT_S: Final = 120.0  # three processes that import torch at once, on a busy machine
_GRACE_S: Final = 10.0  # for the others, once one has failed
_AFTER_CAUSE_S: Final = 2.0  # the same, once the cause is known
_KILL_AFTER_S: Final = 10.0  # between SIGTERM and SIGKILL


class DemoFailed(MpcnetError):
    """A participant failed.

    Attributes:
        failure: the one that explains the others.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure
        self.exit_code = failure.exit_code

    def __str__(self) -> str:
        return f"{self.failure.participant}: {self.failure.message}"


def first_failure(failures: Sequence[Failure]) -> Failure:
    """The one that explains the others.

    Args:
        failures: at least one, in the order in which they came.
    """
    return next((f for f in failures if not consequence(f.exit_code)), failures[0])


def lay_out(
    plan: DemoPlan,
    app: str,
    folder: Path,
    transport: str,
    network: str | None = None,
    protocol: Mapping[str, object] | None = None,
) -> dict[str, Path]:
    """Writes a key, a certificate and a configuration for each participant.

    Args:
        folder: a folder that only this user can read.
        transport: one of `TRANSPORTS`.
        network: an emulated one for all links, or None for the real one.
        protocol: for the [protocol] table of all participants, over what the plan says.

    Returns:
        The configuration file of each participant, by name; the dealer last.
    """
    scheme, plaintext = TRANSPORTS[transport]
    names = [*plan.parties, plan.dealer]
    entries: list[dict[str, object]] = [{"name": name} for name in names]
    # The first party dials everybody, so it needs no address.
    with free_ports(len(names) - 1) as ports:
        for entry, port in zip(entries[1:], ports, strict=True):
            entry["url"] = f"{scheme}://127.0.0.1:{port}"
    if not plaintext:
        for entry, name in zip(entries, names, strict=True):
            write_identity(create_identity(name), folder / f"{name}.key", folder / f"{name}.crt")
            entry["certificate"] = f"{name}.crt"
    session = f"demo-{secrets.token_hex(8)}"
    files = {}
    for name in names:
        files[name] = folder / f"{name}.toml"
        document = {
            "session": session,
            "name": name,
            "identity": None if plaintext else {"key": f"{name}.key", "certificate": f"{name}.crt"},
            "parties": entries[:-1],
            "dealer": entries[-1],
            "protocol": {**plan.protocol, **(protocol or {})} or None,
            "link": {
                "connect_timeout_s": _CONNECT_TIMEOUT_S,
                "plaintext": plaintext,
                "network": network,
            },
            "app": {"name": app, **plan.settings[name]} if name in plan.settings else None,
        }
        files[name].write_text(render_toml(document), encoding="utf-8")
    return files


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Ports on the loopback that nothing listens on, held until the end of the block."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        yield [_bind_somewhere(taken) for taken in held]


def _bind_somewhere(taken: socket.socket) -> int:
    """A free port below those that the system gives to outgoing connections (32768 and up)."""
    for _ in range(_PORT_ATTEMPTS):
        port = _PORTS[0] + secrets.randbelow(_PORTS[1] - _PORTS[0])
        with suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port
    raise AddressError("tcp://127.0.0.1", "no free port was found; stop other programs")


async def run_participants(
    files: Mapping[str, Path],
    dealer: str,
    watch: Watch,
    *,
    options: Sequence[str] = (),
    serve: str = "",
) -> dict[str, dict[str, Any]]:
    """Starts every participant, and waits until all have ended.

    Args:
        files: configuration of each participant, by name.
        dealer: which of them is the dealer.
        watch: is told every event of every participant.
        options: further options of `mpcnet party` and `mpcnet dealer`.
        serve: an app that they serve, until a signal ends them; else each runs its program once.

    Returns:
        What each participant reported as its result, by name.

    Raises:
        DemoFailed: with the first cause; no process is left then.
    """
    children = [
        Child(name, [*_command(name == dealer, serve), "--config", str(file), *options])
        for name, file in files.items()
    ]
    ends = [asyncio.create_task(child.run(watch)) for child in children]
    try:
        await _until_over(children, ends)
    finally:
        await _stop(children, ends)
    failures = sorted(
        (child for child in children if child.failure is not None), key=lambda c: c.ended_at
    )
    if failures:
        raise DemoFailed(first_failure([child.failure for child in failures if child.failure]))
    return {child.name: child.result or {} for child in children}


def _command(deals: bool, serve: str) -> list[str]:
    return ["serve", serve] if serve else ["dealer" if deals else "party"]


async def _until_over(children: Sequence[Child], ends: Sequence[asyncio.Task[None]]) -> None:
    """Returns when all have ended, or when waiting longer would explain nothing."""
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set(ends)
    deadline: float | None = None
    while pending:
        timeout = None if deadline is None else max(0.0, deadline - loop.time())
        done, pending = await asyncio.wait(
            pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            return
        for task in done:
            task.result()
        failures = [child.failure for child in children if child.failure is not None]
        if failures:
            known = not consequence(first_failure(failures).exit_code)
            latest = loop.time() + (_AFTER_CAUSE_S if known else _GRACE_S)
            deadline = latest if deadline is None else min(deadline, latest)


async def _stop(children: Sequence[Child], ends: Sequence[asyncio.Task[None]]) -> None:
    """Ends what still runs: first with a request, then without."""
    for child in children:
        child.signal(signal.SIGTERM)
    if any(not task.done() for task in ends):
        await asyncio.wait(ends, timeout=_KILL_AFTER_S)
    for child in children:
        child.signal(signal.SIGKILL)
    await asyncio.gather(*ends, return_exceptions=True)
