"""The session whose program runs now, for functions that are not told which: `mpcnet.share`."""

import asyncio
import math
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import torch
from torch import Tensor
from torch.export import ExportedProgram

from mpcnet.errors import SecretError
from mpcnet.tensor import SecretTensor
from mpcnet.weights import Weights
from protocols.errors import MessageError

if TYPE_CHECKING:
    from mpcnet.calibration import Calibration
    from mpcnet.session import Session  # which sets it

__all__ = ["CURRENT", "current_session", "private", "reveal", "share", "share_each"]

_MOST_ELEMENTS: Final = 1 << 27
"""Of what one party gives at once: a gibibyte of shares, which others must find room for."""

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


async def share_each(value: Tensor, *, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """A secret of every party, each knowing its own; in order of rank.

    Nobody has to know the shapes of others, which are public: the parties tell each other. So
    `torch.cat(await share_each(mine))` is the data of all, by rows, or with `dim=1` by columns.

    Args:
        value: this party's own.
        dtype: as for `Session.share`, the same at all parties.

    Raises:
        MessageError: a party's value has not as many dimensions, or more than 2^27 elements.
    """
    session = current_session()
    shapes = [
        await session.announce(list(value.shape), owner=owner, type=list[int])
        for owner in range(len(session.names))
    ]
    for owner, shape in enumerate(shapes):
        fits = all(0 <= size <= _MOST_ELEMENTS for size in shape)
        if len(shape) != value.dim() or not fits or math.prod(shape) > _MOST_ELEMENTS:
            raise MessageError(owner, "the shape of its data", f"{shape}")
    return [
        session.share(
            value if owner == session.rank else None, owner=owner, shape=shape, dtype=dtype
        )
        for owner, shape in enumerate(shapes)
    ]


@overload
def private(
    model: M,
    *,
    owner: int | str,
    weights: Weights | None = None,
    calibration: "Calibration | None" = None,
) -> M: ...


@overload
def private(
    model: ExportedProgram, *, owner: int | str, weights: Weights | None = None
) -> torch.nn.Module: ...


@overload
def private(model: Mapping[str, Tensor], *, owner: int | str) -> dict[str, SecretTensor]: ...


def private(model: Any, *, owner: int | str, **options: Any) -> Any:
    """See `Session.private`."""
    return current_session().private(model, owner=owner, **options)


@overload
def reveal(
    x: Tensor, to: int | str | Sequence[int | str] | None = None
) -> "asyncio.Future[Tensor]": ...


@overload
def reveal(
    x: torch.nn.Module | Mapping[str, Tensor], to: int | str | Sequence[int | str] | None = None
) -> "asyncio.Future[dict[str, Tensor]]": ...


def reveal(x: Any, to: int | str | Sequence[int | str] | None = None) -> "asyncio.Future[Any]":
    """See `Session.reveal`."""
    return x.reveal(to) if isinstance(x, SecretTensor) else current_session().reveal(x, to)
