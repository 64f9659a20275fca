"""A participant that stays: it takes session after session until it is asked to stop.

Each session has fresh keys at all participants (`Party.join`), so nothing that hid a value in one
is of use in another, however often a participant is started again. What ends a session early, a
peer that is lost or one that was started again, is logged; then the next one is waited for.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import structlog

from mpcnet.app import Events
from mpcnet.closing import Closing
from mpcnet.config import Config
from mpcnet.errors import (
    AppError,
    ConfigError,
    PolicyError,
    consequence,
    describe,
    exit_code,
    first_cause,
)
from mpcnet.policy.facts import code_of
from mpcnet.runtime import from_store, greeted_program, load_settings, run_dealer, run_program
from mpcnet.session import Session
from protocols.errors import DeviceError
from transports import Exchange
from transports.errors import AddressError, HandshakeError
from transports.identity import read_identity

__all__ = ["Meanwhile", "Stop", "serve_as_dealer", "serve_as_party", "serve_sessions"]

Stop: TypeAlias = asyncio.Event
"""Set when this participant is asked to stop."""

Meanwhile: TypeAlias = Callable[[Closing], Awaitable[None]]
"""To be run during a session, from the moment on when all are connected."""

_log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 24 * 3600.0  # then it says once more that it waits
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_LASTING_S: Final = 30.0  # a session that held for so long: pauses begin anew
_LOOK_S: Final = 1.0  # between looks at a policy that refuses
_RECONSIDER_S: Final = 3600.0  # what a rule says of times and of runs a day may allow more by then
_FATAL: Final = (AppError, ConfigError, DeviceError)
"""What is wrong here, and stays so however often it is tried."""


async def serve_as_party(
    config: Config, events: Events, stop: Stop, *, traces: bool = False
) -> None:
    """Serves as one of the computing parties, until it is asked to stop.

    Args:
        traces: tracebacks of what nobody expected go to standard error; they may show secrets.

    Raises:
        ConfigError, AppError, AddressError, IdentityError, DeviceError: it cannot serve.
    """
    app, settings = load_settings(config)
    config = _checked(config)
    code = None if config.policy is None else code_of(app, settings)
    async with app.service(config.name, settings, events) as service:

        async def one(meanwhile: Meanwhile) -> None:
            async def program(session: Session) -> Any:
                async with _beside(meanwhile(session.closing)):
                    return await service.run(session)

            digest, store = greeted_program(app, settings), from_store(config, app, settings)
            await run_program(config, digest, program, events, store, code=code)

        policy = None if config.policy is None else config.policy.file
        await serve_sessions(one, stop, service.away, policy=policy, traces=traces)


async def serve_as_dealer(
    config: Config, events: Events, stop: Stop, *, traces: bool = False
) -> None:
    """Serves as the dealer, until it is asked to stop.

    Args:
        traces: as for a party.

    Raises:
        AddressError, IdentityError, DeviceError: it cannot serve.
    """
    config = _checked(config)

    async def one(meanwhile: Meanwhile) -> None:
        @asynccontextmanager
        async def beside(exchange: Exchange) -> AsyncIterator[None]:
            async with _beside(meanwhile(Closing(exchange))):
                yield

        await run_dealer(config, events, beside)

    await serve_sessions(one, stop, traces=traces)


async def serve_sessions(
    one: Callable[[Meanwhile], Coroutine[Any, Any, object]],
    stop: Stop,
    away: Callable[[str], None] = lambda why: None,
    *,
    policy: Path | None = None,
    traces: bool = False,
) -> None:
    """One session after another, until `stop` is set and the one under way has ended.

    Args:
        one: connects, and takes part in one session. What it is given it runs during the session,
            which tells the others when `stop` is set. Before that, `stop` cancels it.
        away: is told why no session is under way.
        policy: the file that every session asks. What it refuses it refuses again, so nothing is
            tried until it changes.

    Raises:
        Whatever cannot become better by trying again.
    """
    loop = asyncio.get_running_loop()
    attempts = failures = 0
    while not stop.is_set():
        _log.info("waiting for the other participants")
        begun, asked = loop.time(), _stamp(policy)
        refused = False
        try:
            await _unless_stopped(one, stop)
            why, failures = "the session ended in order", 0
            if not stop.is_set():
                _log.info(why)
        except Exception as error:
            cause = first_cause(error)
            if isinstance(cause, _FATAL) or (isinstance(cause, AddressError) and not attempts):
                raise  # an address that was good before may be so again
            refused = isinstance(cause, PolicyError)
            failures = 1 if loop.time() - begun > _LASTING_S else failures + 1
            why = describe(error)
            _say(cause, why)
            if traces:
                traceback.print_exception(error)
        attempts += 1
        away(why)
        if refused:
            await _reconsidered(policy, asked, stop)
        elif failures:
            await _pause(failures, stop)
    _log.info("stopped")


async def _unless_stopped(
    one: Callable[[Meanwhile], Coroutine[Any, Any, object]], stop: Stop
) -> None:
    """One session, to its end; one that has not begun when `stop` is set does not begin."""
    begun = asyncio.Event()

    async def meanwhile(closing: Closing) -> None:
        begun.set()
        _log.info("the session has begun")
        await stop.wait()
        _log.info("asked to stop: what is under way is finished first")
        closing.wish()

    task = asyncio.ensure_future(one(meanwhile))
    async with _beside(stop.wait()) as stopped:
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            if task.done() or begun.is_set():
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _beside(work: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    """Runs something until the end of the block, at the latest."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _say(error: BaseException, why: str) -> None:
    if isinstance(error, PolicyError):
        _log.error("nothing is tried until the policy changes, or for an hour", why=why)
    elif consequence(exit_code(error)):
        _log.warning("the session is over, the next one is waited for", why=why)
    elif isinstance(error, HandshakeError) and error.field == "run":
        _log.info("a peer was in a session of before, which it ends now", why=why)
    else:
        _log.error("the session failed, the next one is waited for", why=why)


async def _pause(failures: int, stop: Stop) -> None:
    """Longer each time, but no longer than until `stop`."""
    longest = min(_FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16), _LONGEST_PAUSE_S)
    await _rest(longest, stop)


async def _reconsidered(policy: Path | None, asked: object, stop: Stop) -> None:
    """Until the file is another than the one that was asked, an hour has passed, or `stop`.

    Trying again before would be refused again, with a line in the audit log each time.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _RECONSIDER_S
    while not stop.is_set() and _stamp(policy) == asked and loop.time() < until:
        await _rest(_LOOK_S, stop)


def _stamp(policy: Path | None) -> object:
    """Differs when the file is written or replaced."""
    try:
        found = None if policy is None else policy.stat()
    except OSError:
        found = None
    return found and (found.st_mtime_ns, found.st_size, found.st_ino)


async def _rest(seconds: float, stop: Stop) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _checked(config: Config) -> Config:
    """The configuration for somebody who waits for as long as it takes; its own key can be read."""
    if config.identity is not None and not config.link.plaintext:
        read_identity(config.identity.key, config.identity.certificate)
    link = msgspec.structs.replace(config.link, connect_timeout_s=_PATIENCE_S)
    return msgspec.structs.replace(config, link=link)
