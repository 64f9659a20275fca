"""SecretTensor: a torch tensor whose values nobody here knows."""

import asyncio
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mpcnet.errors import SecretError
from mpcnet.recurrent import RECURRENT, with_secret_state
from mpcnet.storage import Rearrange, Storage
from protocols.ring.bilinear import Shape
from protocols.shares import Sharing
from protocols.suite import Suite

if TYPE_CHECKING:
    from mpcnet.outside import OutsideShare  # which makes tensors

__all__ = ["Content", "Home", "SecretTensor"]

# The first dispatch to any tensor subclass makes torch import its distributed tensors, and sympy
# with them: half a second that belongs to the start of a process and not to its first inference.
if torch.distributed.is_available():
    import_module("torch.distributed.tensor")


class Home(Protocol):
    """What a secret, and the operators on it, need of the session that it lives in."""

    suite: Suite

    @property
    def scheme(self) -> str: ...

    def dispatch(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any: ...

    def wrap(self, sharing: Sharing, dtype: torch.dtype = torch.float32) -> "SecretTensor": ...

    def constant(self, value: Tensor) -> "SecretTensor": ...

    def reveal(
        self, x: "SecretTensor", to: int | str | Sequence[int | str] | None = None
    ) -> "asyncio.Future[Tensor]": ...

    def to_outside(self, x: "SecretTensor") -> "asyncio.Future[OutsideShare]": ...


@dataclass(slots=True, eq=False, repr=False)
class Content:
    """What a handle stands for, as memory is what a plain tensor stands for.

    A detached handle shares it, so that what changes one in place changes both.

    Attributes:
        made: the sharing, or what makes it when it is first asked for.
        transpose_of: the matrix that it is the transpose of: products then use the one that was
            hidden before.
        trace: how it was found, if a backward pass can use that: what is known of the forward
            pass need not be compared a second time. Or what the program says of its sign.
        plain: the value, of what was made of it in the open.
        memory: what it shares with its views, and with what it is a view of, once there are such.
        path: the views that lead from the memory to it.
        version: of the memory, when `made` was up to date.
    """

    made: Sharing | Callable[[], Sharing]
    transpose_of: "SecretTensor | None" = None
    trace: object = None
    plain: Tensor | None = None
    memory: Storage | None = None
    path: tuple[Rearrange, ...] = ()
    version: int = 0

    @property
    def sharing(self) -> Sharing:
        if callable(self.made):
            self.made = self.made()
        if self.memory is not None and self.memory.version != self.version:
            self.made = self.memory.read(self.path, self.made.shape)
            self.version, self.trace, self.plain = self.memory.version, None, None
        return self.made

    @property
    def known(self) -> Tensor | None:
        """The plain value, if everybody knows it and nothing was written over it since."""
        changed = self.memory is not None and self.memory.version != self.version
        return None if changed else self.plain

    def view_by(self, suite: Suite, view: "Content", rearrange: Rearrange) -> None:
        """Lets `view`, which `rearrange` made of this, share its memory from now on."""
        if self.memory is None:
            self.memory = Storage(suite, self.sharing)
        view.memory, view.path = self.memory, (*self.path, rearrange)
        view.version = self.memory.version

    def replace(self, other: "Content") -> None:
        """Takes over what `other` stands for, in place, and so do all that share its memory.

        Raises:
            SecretError: it holds an element of the memory more than once.
        """
        if self.memory is not None:
            self.memory.write(self.path, other.sharing)
            self.version = self.memory.version
        self.made, self.transpose_of, self.trace = other.made, None, other.trace
        self.plain = other.plain


_GRAD: Any = torch.Tensor.grad
"""What reads and sets it."""


class SecretTensor(Tensor):
    """The torch-like handle on a secret.

    It has a shape, a dtype and no storage: the values exist only as shares. float32 stands for
    fixed-point numbers; int8 to int64 for integers, whose number of bits says how many a comparison
    looks at (they do not wrap there: a value beyond them gives a wrong result); bool for 0 or 1.
    Operators on it return at once and run in the background, so build the whole expression first
    and await only what you reveal. Dispatch sits below autograd and `torch.nn`, so unmodified
    modules work on it.

    Attributes:
        session: the session that it lives in; secrets of two sessions do not mix.
        content: what it stands for; `sharing` is this party's handle in the protocol suite.
    """

    session: Home
    content: Content

    barred: Tensor | None
    """Public places (bool) where it is minus infinity, which no protocol holds: for softmax."""

    def __new__(
        cls,
        session: Home,
        made: Sharing | Callable[[], Sharing] | Content,
        shape: Shape | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "SecretTensor":
        """Of a sharing, or of one that is made when it is first asked for; then give its shape."""
        content = made if isinstance(made, Content) else Content(made)
        size = content.sharing.shape if shape is None else shape
        tensor: SecretTensor = torch.Tensor._make_wrapper_subclass(
            cls, size, dtype=dtype, device=torch.device("cpu")
        )
        tensor.session = session
        tensor.content = content
        tensor.barred = None
        return tensor

    def __init__(
        self,
        session: Home,
        made: Sharing | Callable[[], Sharing] | Content,
        shape: Shape | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()

    @property
    def sharing(self) -> Sharing:
        return self.content.sharing

    @property
    def grad(self) -> "SecretTensor | None":
        """As in torch, and a secret at all times: some gradients, as that of a sum, are public."""
        with torch._C.DisableTorchFunctionSubclass():
            found = _GRAD.__get__(self)
        if found is None or isinstance(found, SecretTensor):
            return found
        plain = found.detach().clone()
        secret = SecretTensor(
            self.session, lambda: self.session.constant(plain).sharing, tuple(plain.shape)
        )
        secret.content.plain = plain
        self.grad = secret
        return secret

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        with torch._C.DisableTorchFunctionSubclass():
            _GRAD.__set__(self, value)

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Nearly everything happens below, in `__torch_dispatch__`."""
        if func in RECURRENT:
            secret = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, cls))
            args = with_secret_state(func, args, secret.session.constant)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        secret = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, cls))
        return secret.session.dispatch(func, args, kwargs or {})

    def reveal(self, to: int | str | Sequence[int | str] | None = None) -> "asyncio.Future[Tensor]":
        """Lets the named parties learn the value; everybody by default.

        Every party must call it, at the same place in the program. Returns at once; await the
        result: the plain tensor of its dtype at the parties in `to`, one of shape (0,) at others.
        """
        if self.barred is not None:
            raise SecretError(
                "a secret masked with minus infinity has no value there: softmax first"
            )
        return self.session.reveal(self, to)

    def to_outside(self) -> "asyncio.Future[OutsideShare]":
        """This party's share of the value for somebody who is no party; see `mpcnet.outside`.

        Every party must call it, at the same place in the program. Returns at once; await the
        result and hand it to whoever may learn the value, who needs that of every party.

        Raises (when it is awaited):
            OutsiderError: the suite has no shares.
        """
        if self.barred is not None:
            raise SecretError(
                "a secret masked with minus infinity has no value there: softmax first"
            )
        return self.session.to_outside(self)

    def __copy__(self) -> "SecretTensor":
        """Another handle on the same content, as torch's shallow copy shares memory."""
        return self._like(self.detach())

    def __deepcopy__(self, memo: dict[int, Any]) -> "SecretTensor":
        """A secret of its own that is equal: no message, and what was opened serves both.

        Raises:
            RuntimeError: as torch, where it is the result of what asks for gradients.
        """
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise RuntimeError(
                "only secrets that a program made itself can be copied deeply: detach() it, or "
                "clone() it, which keeps its place in the graph"
            )
        content = Content(self.content.sharing, plain=self.content.known)
        twin = SecretTensor(self.session, content, tuple(self.shape), self.dtype)
        twin.barred = self.barred
        twin = memo[id(self)] = self._like(twin)
        if self.grad is not None and not isinstance(self, torch.nn.Parameter):
            twin.grad = deepcopy(self.grad, memo)
        return twin

    def _like(self, twin: Any) -> "SecretTensor":
        """A parameter if this is one, and asking for gradients if this does."""
        if isinstance(self, torch.nn.Parameter):
            twin = torch.nn.Parameter(twin, requires_grad=self.requires_grad)
        return twin.requires_grad_(self.requires_grad)  # type: ignore[no-any-return]

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise SecretError(
            "a secret cannot be pickled, and so not by torch.save: `await mpcnet.save(path, ...)` "
            "keeps this party's share, encrypted; reveal it to keep the plain values"
        )

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        kind = "" if self.dtype == torch.float32 else f", dtype={self.dtype}"
        return f"SecretTensor(shape={tuple(self.shape)}{kind}, scheme={self.session.scheme})"

    def __bool__(self) -> NoReturn:
        raise SecretError(
            "Python cannot branch on a secret: compute both sides and select by a comparison "
            "(torch.where, or a product with x > 0), or reveal the condition first"
        )

    def _hidden(self, *args: object, **kwargs: object) -> NoReturn:
        raise SecretError(
            "a secret has no values here: `await x.reveal(to=...)` gives the plain tensor to those "
            "who may see it"
        )

    item = tolist = numpy = __array__ = __float__ = __int__ = __index__ = __complex__ = _hidden
    __contains__ = _hidden
