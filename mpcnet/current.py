"""The session whose program runs now, for functions that are not told which: `mpcnet.share`."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

import torch
from torch import Tensor

from mpcnet.errors import SecretError
from mpcnet.tensor import SecretTensor

if TYPE_CHECKING:
    from mpcnet.session import Session  # which sets it

__all__ = ["CURRENT", "current_session", "private", "reveal", "share"]

M = TypeVar("M", bound=torch.nn.Module)

CURRENT: Final["ContextVar[Session]"] = ContextVar("mpcnet session")
"""Set in the task of a program, and in all tasks that it starts."""


def current_session() -> "Session":
    """The session whose program this is called from.

    Raises:
        SecretError: it is called from outside of a program.
    """
    session = CURRENT.get(None)
    if session is None:
        raise SecretError(
            "no program runs here: call this from `async def program(session)`, which "
            "mpcnet.local(n).run(program), `mpcnet run` or `mpcnet party` runs at every party"
        )
    return session


def share(
    value: Tensor | Awaitable[Tensor] | None,
    *,
    owner: int | str,
    shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> SecretTensor:
    """See `Session.share`."""
    return current_session().share(value, owner=owner, shape=shape, dtype=dtype)


def private(model: M, *, owner: int | str) -> M:
    """See `Session.private`."""
    return current_session().private(model, owner=owner)


def reveal(
    x: Tensor, to: int | str | Sequence[int | str] | None = None
) -> "asyncio.Future[Tensor]":
    """See `SecretTensor.reveal`; a plain tensor, as some gradients are, is what it is."""
    return x.reveal(to) if isinstance(x, SecretTensor) else current_session().reveal(x, to)
